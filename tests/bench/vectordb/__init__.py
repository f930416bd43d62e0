"""What observing a vector-database client costs, beside OpenLLMetry and OpenLIT."""
