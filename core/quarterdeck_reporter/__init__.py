"""Reports a service's predictions to a Quarterdeck gateway, without ever blocking or failing the service.

Needs Python 3.8 or newer and nothing beside its standard library. Copy this folder beside your service, or install
the wheel `quarterdeck` with `pip install --no-deps`. docs/adopt.md of Quarterdeck has the details.
"""

from quarterdeck_reporter.extraction import Prediction, Request, Response, from_json
from quarterdeck_reporter.middleware import AsgiMiddleware, WsgiMiddleware
from quarterdeck_reporter.reporter import Reporter

__all__ = ["AsgiMiddleware", "Prediction", "Reporter", "Request", "Response", "WsgiMiddleware", "from_json"]
