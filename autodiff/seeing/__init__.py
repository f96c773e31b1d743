"""Pictures, tables and the page that show a graph and how derivatives travel through it. Everything below may be used
here, nothing below uses this.

Read `graph` (the picture) with `expansion` (fused operations made of plain ones), `selection`, `passes`, `cuts` and
`looks` (what is drawn, which pass it belongs to, where values were detached, how it looks) and `layout` (Graphviz);
then `explain` (the table) with `steps` (its rows), `formats` and `spreadsheets`; then `page` with `stage` (its
picture), `bands`, `slots` and `arrows` (what is in it) and `costs`. `names` and `printable` say what tensors are called
in all of them, `formulas` (with `powers` and `indices`) how their mathematics is written. `table` is for small tables
of other kinds.
"""
