"""Real database servers, private to a test run: ``with MariaDB() as server: ...``."""

from rdsproxy.demo.certificates import Certificates, make_certificates
from rdsproxy.demo.server import ServerError, ServerMissingError, free_port
from tests.servers.base import DatabaseServer, Process, User
from tests.servers.mariadb import MariaDB
from tests.servers.mysql import MySQL
from tests.servers.mysql_install import InstallError, install_mysql, installed_mysql

__all__ = [
    "Certificates",
    "DatabaseServer",
    "InstallError",
    "MariaDB",
    "MySQL",
    "Process",
    "ServerError",
    "ServerMissingError",
    "User",
    "free_port",
    "install_mysql",
    "installed_mysql",
    "make_certificates",
]
