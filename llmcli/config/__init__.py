"""The configuration: editing the file, and the parsed descriptions of servers, adapters and engine options."""
