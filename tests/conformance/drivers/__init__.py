"""One module for each connector; its list `DRIVERS` is found by `driver.all_drivers`."""
