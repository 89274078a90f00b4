"""Node's mysql2 and mariadb through the proxy."""
