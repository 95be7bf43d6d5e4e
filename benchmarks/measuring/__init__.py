"""Tools to measure any function: clocks, counted work, peak rates, tables. Nothing of CPCA."""
