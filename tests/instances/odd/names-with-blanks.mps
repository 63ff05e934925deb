NAME          blanks
ROWS
 N  COST FN
 G  ROW 1
 L  ROW 2
COLUMNS
    COL A     COST FN   1.0            ROW 1     1.0
    COL A     ROW 2     1.0
    COL B     COST FN   2.0            ROW 1     1.0
RHS
    RHS       ROW 1     2.0            ROW 2     1.5
BOUNDS
 UP BND       COL A     1.0
ENDATA
