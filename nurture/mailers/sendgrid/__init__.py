"""Twilio SendGrid: mail, suppression lists, signed domains, events."""
