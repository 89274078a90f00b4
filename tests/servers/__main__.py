"""``python -m tests.servers``: fetch MySQL, if it is not there, before the tests ask for it."""

import sys

from tests.servers.mysql_install import InstallError, install_mysql, installed_mysql

if not installed_mysql():
    print("rdsproxy: fetching MySQL for the tests", flush=True)
try:
    install_mysql()
except InstallError as error:
    sys.exit(f"rdsproxy: {error}")
