"""Batches: many referrals in one file, received row by row, accepted in slices beside everything else.

`receive` streams a body into sealed rows; `accept` turns them into referrals through the verb that single ones go
through; `progress` tells how far it is; `sweep` clears away what was cut off. Rules without a database: `sheet`,
`columns`, `lines`.
"""
