-- One event: connect, run one query, quit.
sysbench.cmdline.options = {
   table_size = {"Number of rows per table", 10000},
   tables = {"Number of tables", 1}
}

function thread_init()
   drv = sysbench.sql.driver()
end

function event()
   local con = drv:connect()
   con:query("SELECT c FROM sbtest1 WHERE id=" .. sysbench.rand.uniform(1, sysbench.opt.table_size))
   con:disconnect()
end
