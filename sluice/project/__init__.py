"""The settings of a project: sluice.toml as one typed model.

Values come from the file and from environment variables (``SLUICE_GATE__MARGIN=0.01`` sets ``gate.margin``). An environment
variable takes precedence. Sluice does not know the folders of a project. It imports the objects that sluice.toml names.

Belongs here: the settings (``tables``, ``settings``), and finding and reading the file (``roots``, ``projects``). Does not belong
here: code that uses a setting. This module imports nothing, so that ``roots`` can be used without the time that pydantic takes.
"""
