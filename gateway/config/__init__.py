"""Configuration as code: what the admin can set, a file can set.

document.py   text -> plain values (YAML or JSON)
fields.py     checks of single values; every problem is kept with the path of its field
shapes.py     the fields of each section
schema.py     the sections of a file -> `Item`s
rows.py       one run of apply: rows by name, differences, refusals
providers.py, routing.py, scenes.py, policies.py, accounts.py   write the sections
prune.py      removes what the file does not name
apply.py      the order of all that, in one transaction
export.py     the rows -> a file
"""
