"""For building pyradiomics 3.0.1 alone: its setup.py needs what Python 3.12 took away.

With this folder in PYTHONPATH, Python reads this file at its start.
"""

import configparser

if not hasattr(configparser, "SafeConfigParser"):

    class SafeConfigParser(configparser.ConfigParser):
        """The old name of ConfigParser, with the old name of `read_file`."""

        readfp = configparser.ConfigParser.read_file

    configparser.SafeConfigParser = SafeConfigParser
