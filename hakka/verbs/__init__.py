"""The verbs of the command line. A verb parses, calls one function of the domain, and prints."""
