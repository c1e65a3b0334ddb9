"""What Schemathesis is told of requests that it makes up."""

import itertools
import re

import schemathesis
from schemathesis.openapi.checks import UseAfterFree

numbers = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    """Gives each create a key of its own.

    The same key is the same request, whose answer comes again, also when the object has been deleted since. That looks
    like an object that is lost as soon as it is made.
    """
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch(r"[!-~]{1,240}", key):
        case.headers["Idempotency-Key"] = f"{key}-{next(numbers)}"


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """OPTIONS is about what a path offers, as in Django REST framework.

    Of an object that is gone it says what it says of one that never was, and of one that the caller may not see: 200
    without a form.
    """
    return not (isinstance(failure, UseAfterFree) and case.method == "OPTIONS")
