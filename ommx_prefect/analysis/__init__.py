"""Tables, scores, profiles and comparisons of experiments, from their sealed artifacts alone.

    from ommx.experiment import Experiment
    from ommx_prefect import analysis

    table = analysis.solves(Experiment.load("ghcr.io/acme/nightly:20261129T020000"))
    analysis.totals(table)                                 # shifted geometric means, PAR-10, ...
    analysis.contradictions(table, known="miplib2017")     # which solver is lying
    analysis.compare(analysis.solves(last_night), table).regressions

Every function takes and returns pandas tables, works on any OMMX Experiment, and needs no Prefect
server. Times are seconds, gaps are relative.
"""

from ommx_prefect.analysis._compare import Comparison, compare
from ommx_prefect.analysis._contradictions import contradictions
from ommx_prefect.analysis._environment import differences, environment_of, environments_of
from ommx_prefect.analysis._exchange import write_trc
from ommx_prefect.analysis._known import known_values, read_solu, write_solu
from ommx_prefect.analysis._plots import plot_gap, plot_profile, plot_scatter, plot_trend
from ommx_prefect.analysis._profiles import data_profile, gap_over_time, performance_profile
from ommx_prefect.analysis._report import report_html, write_report
from ommx_prefect.analysis._solves import solves
from ommx_prefect.analysis._totals import shifted_geometric_mean, totals, virtual_best

__all__ = [
    "Comparison",
    "compare",
    "contradictions",
    "data_profile",
    "differences",
    "environment_of",
    "environments_of",
    "gap_over_time",
    "known_values",
    "performance_profile",
    "plot_gap",
    "plot_profile",
    "plot_scatter",
    "plot_trend",
    "read_solu",
    "report_html",
    "shifted_geometric_mean",
    "solves",
    "totals",
    "virtual_best",
    "write_report",
    "write_solu",
    "write_trc",
]
