"""The workbench: a person looks at a counted smear, corrects it, signs it, and takes the result away.

    result.py     what `leukoscope smear` wrote, read and checked
    database.py   the file of decisions: connections, and its migrations in versions/
    journal.py    events that are only ever added, chained by hashes
    state.py      what all events together say of a smear
    actions.py    what a person may do, as events
    smear.py      one smear under review: result, journal and state together
    count.py      the differential as it stands, beside the machine's
    pictures.py   cells and fields as JPEG
    export.py     tables, spreadsheet, outlines, manifest
    door.py       who may come in: token, session, headers
    api.py        the JSON of /api/v1
    pages.py      the pages
    serve.py      the server

docs/review.md says how it is used, and what the record proves.
"""
