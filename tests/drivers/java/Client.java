// MariaDB Connector/J: a program as tests/drivers/process.py wants it.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.math.BigDecimal;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;

public final class Client {
    private static final String TABLE = System.getenv("DB_TABLE");
    // Days as text: MySQL 9 takes this driver's java.sql.Date for a malformed packet, with or without a proxy.
    private static final Object[][] ROWS = {
        {1L, new BigDecimal("12345678.9012"), 0.5, "2024-02-29",
            Timestamp.valueOf("2024-02-29 12:34:56.789012"), "ä€😀", new byte[] {0, -1, 39}},
        {Long.MIN_VALUE, new BigDecimal("-0.0001"), -1e300, "1000-01-01",
            Timestamp.valueOf("9999-12-31 23:59:59"), "", new byte[0]},
        {null, null, null, null, null, null, null},
    };
    private static BufferedReader input;
    private static Connection connection;

    public static void main(String[] arguments) throws Exception {
        input = new BufferedReader(new InputStreamReader(System.in));
        Properties settings = new Properties();
        settings.setProperty("user", System.getenv("DB_USER"));
        settings.setProperty("password", System.getenv("DB_PASSWORD"));
        settings.setProperty("useServerPrepStmts", "true");
        settings.setProperty("useBulkStmts", "true");
        settings.setProperty("allowPublicKeyRetrieval", "true");
        if (!System.getenv("DB_CA").isEmpty()) {
            settings.setProperty("useSsl", "true");
            settings.setProperty("serverSslCert", System.getenv("DB_CA"));
        }
        String place = "jdbc:mariadb://" + System.getenv("DB_HOST") + ":" + System.getenv("DB_PORT") + "/";
        connection = DriverManager.getConnection(place + System.getenv("DB_SCHEMA"), settings);

        show("session", rows("SELECT DATABASE(), @@character_set_client, @@collation_connection, @@autocommit, @@sql_mode"));
        show("session", connection.getMetaData().getDatabaseMajorVersion(), connection.getTransactionIsolation());
        pause();
        execute("SET time_zone = '+05:00'");
        pause();
        show("time zone", rows("SELECT @@time_zone, CAST(FROM_UNIXTIME(0) AS CHAR)"));
        pause();

        String insert = "INSERT INTO " + TABLE + " (number, amount, ratio, day, moment, text, data) VALUES (?, ?, ?, ?, ?, ?, ?)";
        for (boolean commit : new boolean[] {false, true}) {
            connection.setAutoCommit(false);
            try (PreparedStatement statement = connection.prepareStatement(insert, Statement.RETURN_GENERATED_KEYS)) {
                for (Object[] row : ROWS) {
                    show("insert", update(statement, row), keys(statement));
                }
            }
            show("in the transaction", rows("SELECT COUNT(*) FROM " + TABLE));
            if (commit) {
                connection.commit();
            } else {
                connection.rollback();
            }
            connection.setAutoCommit(true);
            pause();
            show("last insert id", rows("SELECT LAST_INSERT_ID()"));
            show("rows", commit, rows("SELECT * FROM " + TABLE + " ORDER BY id"));
            pause();
        }
        try (PreparedStatement statement = connection.prepareStatement(insert, Statement.RETURN_GENERATED_KEYS)) {
            for (Object[] row : ROWS) {
                show("insert", update(statement, row), keys(statement));
                pause();
            }
            for (Object[] row : ROWS) {
                fill(statement, row);
                statement.addBatch();
            }
            show("batch", statement.executeBatch().length);
            pause();
        }
        // Without keys and NULLs it goes in bulk, before MariaDB.
        try (PreparedStatement statement = connection.prepareStatement(insert, Statement.NO_GENERATED_KEYS)) {
            for (int turn = 0; turn < 2; turn++) {
                for (Object[] row : Arrays.copyOf(ROWS, 2)) {
                    fill(statement, row);
                    statement.addBatch();
                }
                show("bulk", statement.executeBatch().length, rows("SELECT LAST_INSERT_ID()"));
                pause();
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT * FROM " + TABLE + " WHERE id = ?")) {
            for (Object id : new Object[] {4, 5, 6, 7, "10", 100}) {
                show("select", rows(statement, id));
                pause();
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT CONCAT(?, 1)")) {
            for (Object value : new Object[] {1, "ä€😀", null, 2.5, true, BigDecimal.TEN}) {
                show("type", rows(statement, value));
                pause();
            }
        }
        for (String sql : new String[] {"INSERT INTO " + TABLE + " (id) VALUES (4)", "SELECT * FROM missing", "SELECT 1 FROM"}) {
            for (boolean prepared : new boolean[] {false, true}) {
                try {
                    if (prepared) {
                        try (PreparedStatement statement = connection.prepareStatement(sql)) {
                            statement.execute();
                        }
                    } else {
                        execute(sql);
                    }
                    show("no error");
                } catch (SQLException error) {
                    show("error", error.getErrorCode(), error.getSQLState());
                }
                pause();
            }
        }
        show("many rows", digest(rows("SELECT * FROM numbers").toString().getBytes("UTF-8")));
        pause();
        try (PreparedStatement statement = connection.prepareStatement("SELECT * FROM numbers WHERE id > ?")) {
            show("many rows", digest(rows(statement, 5).toString().getBytes("UTF-8")));
            pause();
            // Rows as they come, until the program has seen enough.
            statement.setFetchSize(100);
            statement.setInt(1, 10);
            try (ResultSet result = statement.executeQuery()) {
                result.next();
                show("first row", result.getInt(1));
            }
            pause();
        }
        byte[] large = new byte[1 << 20];
        for (int i = 0; i < large.length; i++) {
            large[i] = (byte) (i * 31);
        }
        try (PreparedStatement statement = connection.prepareStatement("UPDATE " + TABLE + " SET data = ? WHERE id = ?")) {
            show("large value", update(statement, large, 4));
            pause();
            // A stream, which goes as long data where the driver can.
            statement.setBinaryStream(1, new java.io.ByteArrayInputStream(large, 0, 1 << 19));
            statement.setInt(2, 5);
            show("long data", statement.executeUpdate());
            pause();
        }
        show("large value", digest(rows("SELECT data FROM " + TABLE + " WHERE id IN (4, 5)").toString().getBytes("UTF-8")));
        pause();
        show("valid", connection.isValid(5));
        connection.close();
    }

    private static void execute(String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    private static List<Object> rows(String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet result = statement.executeQuery(sql)) {
            return read(result);
        }
    }

    private static List<Object> rows(PreparedStatement statement, Object... values) throws SQLException {
        fill(statement, values);
        try (ResultSet result = statement.executeQuery()) {
            return read(result);
        }
    }

    private static int update(PreparedStatement statement, Object... values) throws SQLException {
        fill(statement, values);
        return statement.executeUpdate();
    }

    private static List<Object> keys(PreparedStatement statement) throws SQLException {
        try (ResultSet result = statement.getGeneratedKeys()) {
            return read(result);
        }
    }

    private static void fill(PreparedStatement statement, Object... values) throws SQLException {
        for (int i = 0; i < values.length; i++) {
            statement.setObject(i + 1, values[i]);
        }
    }

    private static List<Object> read(ResultSet result) throws SQLException {
        List<Object> found = new ArrayList<>();
        int columns = result.getMetaData().getColumnCount();
        while (result.next()) {
            List<Object> row = new ArrayList<>();
            for (int i = 1; i <= columns; i++) {
                Object value = result.getObject(i);
                row.add(value instanceof byte[] ? digest((byte[]) value) : value);
            }
            found.add(row);
        }
        return found;
    }

    private static String digest(byte[] data) {
        try {
            return new java.math.BigInteger(1, MessageDigest.getInstance("SHA-256").digest(data)).toString(16);
        } catch (java.security.NoSuchAlgorithmException error) {
            throw new IllegalStateException(error);
        }
    }

    private static void show(Object... values) {
        StringBuilder line = new StringBuilder();
        for (char c : Arrays.deepToString(values).toCharArray()) {
            if (c == '"' || c == '\\' || c < ' ' || c > '~') {
                line.append(String.format("\\u%04x", (int) c));
            } else {
                line.append(c);
            }
        }
        System.out.println("\"" + line + "\"");
    }

    private static void pause() throws java.io.IOException {
        System.out.println("\"pause\"");
        input.readLine();
    }
}
