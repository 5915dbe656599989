"""The workbench: a person looks at a counted smear, corrects it, signs it, and takes the result away.

    folders.py    which folders `leukoscope smear` wrote
    result.py     what it wrote there, read and checked
    database.py   where decisions are kept: connections to SQLite or PostgreSQL; migrations in versions/
    records.py    which smears a database holds
    journal.py    events that are only ever added, chained by hashes
    state.py      what all events together say of a smear
    cells.py      all cells in one table: found ones, then drawn ones
    actions.py    what a person may do, as events
    smear.py      one smear under review: result, journal and state together
    shapes.py     the pixels of an outline
    drawing.py    cells that a person draws: missed ones, two of one, one of several
    references.py cells of known type beside a doubtful one
    explaining.py where the model looks
    laboratory.py what a laboratory may set
    entries.py    what a person enters beside the cells
    outcome.py    the result with limits, ranges and absolute numbers
    readings.py   agreement of machine, review and blind second readings
    count.py      the differential as it stands, beside the machine's
    pictures.py   cells and fields as JPEG
    backup.py     all decisions in one file, and back
    export.py     tables, spreadsheet, outlines, COCO, manifest
    items.py      the result as coded values: loinc.py; as messages: fhir.py, hl7.py
    accounts.py   names, roles and passwords of those who work at one server
    attempts.py   how often a password may be tried
    presence.py   who has a smear open
    door.py       who may come in: token or log-in, session, headers
    login.py      logging in and out
    api.py        the JSON of /api/v1
    api_draw.py   the JSON of drawn cells
    api_look.py   the JSON of what is shown beside a cell
    api_values.py the JSON of what is entered
    api_readings.py the JSON of these
    api_accounts.py the JSON of accounts
    api_routes.py which address is answered by what
    openapi.py    its OpenAPI document
    pages.py      the pages
    fitting.py    the model fitted to the laboratory: api_model.py
    child.py      a command in a process that ends with the server
    watch.py      new photographs are counted as they come
    serve.py      the server

docs/review.md says how it is used, and what the record proves.
"""
