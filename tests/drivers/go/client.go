// Go's go-sql-driver/mysql: a program as tests/drivers/process.py wants it.
package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

var (
	input = bufio.NewReader(os.Stdin)
	table = os.Getenv("DB_TABLE")
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func show(values ...interface{}) {
	line, err := json.Marshal(values)
	must(err)
	fmt.Println(string(line))
}

func pause() {
	fmt.Println(`"pause"`)
	input.ReadString('\n')
}

// Reads rows to their end. Bytes are those of the text protocol or of texts.
func collect(rows *sql.Rows, err error) [][]interface{} {
	must(err)
	defer rows.Close()
	names, err := rows.Columns()
	must(err)
	found := [][]interface{}{}
	for rows.Next() {
		row := make([]interface{}, len(names))
		places := make([]interface{}, len(names))
		for i := range row {
			places[i] = &row[i]
		}
		must(rows.Scan(places...))
		for i, value := range row {
			if data, is := value.([]byte); is {
				row[i] = hex.EncodeToString(data)
			}
		}
		found = append(found, row)
	}
	must(rows.Err())
	return found
}

func digest(value interface{}) string {
	line, err := json.Marshal(value)
	must(err)
	return fmt.Sprintf("%x", sha256.Sum256(line))
}

func done(result sql.Result, err error) []int64 {
	must(err)
	affected, err := result.RowsAffected()
	must(err)
	id, err := result.LastInsertId()
	must(err)
	return []int64{affected, id}
}

func main() {
	config := mysql.NewConfig()
	config.User, config.Passwd = os.Getenv("DB_USER"), os.Getenv("DB_PASSWORD")
	config.Net, config.Addr = "tcp", os.Getenv("DB_HOST")+":"+os.Getenv("DB_PORT")
	config.DBName = os.Getenv("DB_SCHEMA")
	config.ParseTime = true
	config.Collation = "utf8mb4_unicode_ci"
	if ca := os.Getenv("DB_CA"); ca != "" {
		pem, err := os.ReadFile(ca)
		must(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		must(mysql.RegisterTLSConfig("test", &tls.Config{RootCAs: pool, ServerName: "localhost"}))
		config.TLSConfig = "test"
	}
	db, err := sql.Open("mysql", config.FormatDSN())
	must(err)
	db.SetMaxOpenConns(1)
	must(db.Ping())

	show("session", collect(db.Query("SELECT DATABASE(), @@character_set_client, @@collation_connection, @@autocommit, @@sql_mode")))
	pause()
	_, err = db.Exec("SET time_zone = '+05:00'")
	must(err)
	pause()
	show("time zone", collect(db.Query("SELECT @@time_zone, FROM_UNIXTIME(0)")))
	pause()

	insert := "INSERT INTO " + table + " (number, amount, ratio, day, moment, text, data) VALUES (?, ?, ?, ?, ?, ?, ?)"
	rows := [][]interface{}{
		{1, "12345678.9012", 0.5, "2024-02-29", time.Date(2024, 2, 29, 12, 34, 56, 789012000, time.UTC), "ä€😀", []byte("\x00\xff'")},
		{int64(-1 << 63), "-0.0001", -1e300, "1000-01-01", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), "", []byte{}},
		{nil, nil, nil, nil, nil, nil, nil},
	}
	for _, commit := range []bool{false, true} {
		tx, err := db.Begin()
		must(err)
		for _, row := range rows {
			show("insert", done(tx.Exec(insert, row...)))
		}
		show("in the transaction", collect(tx.Query("SELECT COUNT(*) FROM "+table)))
		if commit {
			must(tx.Commit())
		} else {
			must(tx.Rollback())
		}
		pause()
		show("last insert id", collect(db.Query("SELECT LAST_INSERT_ID()")))
		show("rows", commit, collect(db.Query("SELECT * FROM "+table+" ORDER BY id")))
		pause()
	}
	statement, err := db.Prepare(insert)
	must(err)
	for _, row := range rows {
		show("insert", done(statement.Exec(row...)))
		pause()
	}
	must(statement.Close())
	statement, err = db.Prepare("SELECT * FROM " + table + " WHERE id = ?")
	must(err)
	for _, id := range []int{4, 5, 6, 7, 100} {
		show("select", collect(statement.Query(id)))
		pause()
	}
	must(statement.Close())
	statement, err = db.Prepare("SELECT CONCAT(?, 1)")
	must(err)
	for _, value := range []interface{}{1, "ä€😀", nil, 2.5, true, []byte{65}, uint64(1 << 63)} {
		show("type", collect(statement.Query(value)))
		pause()
	}
	must(statement.Close())
	for _, text := range []string{"INSERT INTO " + table + " (id) VALUES (4)", "SELECT * FROM missing", "SELECT 1 FROM"} {
		for _, values := range [][]interface{}{{}, {1}} {
			_, err := db.Exec(text, values...)
			var failed *mysql.MySQLError
			if errors.As(err, &failed) {
				show("error", failed.Number)
			} else {
				show("error", fmt.Sprint(err))
			}
			pause()
		}
	}
	show("many rows", digest(collect(db.Query("SELECT * FROM numbers"))))
	show("many rows", digest(collect(db.Query("SELECT * FROM numbers WHERE id > ?", 5))))
	pause()
	blob := []byte(strings.Repeat("a\x00\xff'", 1<<18))
	show("large value", done(db.Exec("UPDATE "+table+" SET data = ? WHERE id = ?", blob, 4)))
	show("large value", digest(collect(db.Query("SELECT data FROM "+table+" WHERE id = ?", 4))))
	pause()
	must(db.Close())
}
