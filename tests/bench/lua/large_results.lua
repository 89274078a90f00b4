-- One event: a query that returns 2,000 rows of 120 characters, about 250 kB.
require("oltp_common")

local ROWS = 2000

function prepare_statements()
   -- oltp_common prepares by default what its own events use; these need nothing.
end

function event()
   local first = sysbench.rand.uniform(1, sysbench.opt.table_size - ROWS + 1)
   con:query(string.format("SELECT c FROM sbtest%d WHERE id BETWEEN %d AND %d",
                           sysbench.rand.uniform(1, sysbench.opt.tables), first, first + ROWS - 1))
end
