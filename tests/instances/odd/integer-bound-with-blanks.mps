NAME          blanks
ROWS
 N  COST FN
 G  ROW 1
COLUMNS
    COL A     COST FN   1.0            ROW 1     2.0
RHS
    RHS       ROW 1     3.0
BOUNDS
 LI BND       COL A     1.0
ENDATA
