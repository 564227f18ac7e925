"""PAGES. A view parses, calls one act, answers. No SQL, no rules."""
