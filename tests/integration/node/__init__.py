"""Node's drivers: `install` has them, `process` runs them, drivers.js is what it runs."""
