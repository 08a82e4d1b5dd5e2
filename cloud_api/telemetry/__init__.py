"""What an operator sees of the cloud: log lines, figures and spans, and nothing of what people keep or who they are.

`trail` names the work at hand, `logs` writes lines about it, `redaction` decides what such a line may hold, `metrics`
counts, `tracing` opens spans, `requests` does all of it for a request. No module here may import another part of the cloud.
"""
