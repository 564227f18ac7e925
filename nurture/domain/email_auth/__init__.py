"""SPF, DKIM and DMARC: whether mail services can tell that a letter comes from whom it says."""
