"""Pictures, tables and the page that show a graph and how derivatives travel through it. Everything below may be used
here, nothing below uses this.

Read `graph` (the picture) with `expansion` (fused operations made of plain ones), `selection`, `repeats`, `passes`,
`cuts` and `looks` (what is drawn, what is folded, which pass it belongs to, where values were detached, how it looks),
`layout` (Graphviz), `palette` and `picture` (what `graph` returns); then `hierarchy`, `details`, `placement` and
`viewer`, the picture's page. Then `explain` (the table) with `steps` (its rows), `formats` and `spreadsheets`; then
`page` with `stage` (its picture), `bands`, `slots` and `arrows` (what is in it), `svg` (how it is written), `playback`
(what its script knows of each step) and `costs`. `table` is for small tables of other kinds; `names` and `printable`
say what tensors are called in all of them, `formulas` (with `powers` and `indices`) how their mathematics is written,
`standalone` makes a page one file.
"""
