"""The ledger of mail."""
