"""What Schemathesis is told of requests that it makes up."""

import itertools
import re
from urllib.parse import parse_qs, urlsplit

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
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


def has_empty(value):
    items = value.split(",") if isinstance(value, str) else value
    return isinstance(items, list) and (not items or "" in items)


def is_list_of_one(how, value):
    """Is it a list of one item that is of the type that is asked for? 1.0 is an integer (JSON Schema, 4.2.2).

    Whether it keeps the other rules for it is not looked at: those are broken without a list as well.
    """
    if not isinstance(value, list) or len(value) != 1:
        return False
    item = str(value[0])
    return (
        ("was string, became array" in how)
        or ("was integer, became array" in how and re.fullmatch(r"-?[0-9]+(\.0)?", item) is not None)
        or ("was boolean, became array" in how and item.lower() in ("true", "false"))
    )


def is_pattern(rule, name):
    return rule == "format" and name.endswith(("__regex", "__iregex"))


def is_written_as_if_valid(failure, case, response):
    """Is what violates the description written as what does not?

    An object without members is sent as nothing (RFC 6570, 2.4.2 and 3.2.1). No items of a list and one empty item are one
    text (RFC 6570, 3.2.8), and empty ones among others are passed over; one
    item and a list of it are one text, too; and a header begins and ends where its white space ends (RFC 9110, 5.5).
    `format` says of a pattern that it is one of ECMA-262, which has no word for what the server reads more of: a `}` that
    closes nothing.
    """
    violations = re.findall(r"violates `(\w+)` at /properties/([^/\s]+)([^\n]*)", failure.message)
    query, headers = case.query or {}, response.request.headers
    sent = parse_qs(urlsplit(response.request.url).query, keep_blank_values=True)
    return bool(violations) and all(
        (
            name not in sent
            or "was array, became" in how
            or has_empty(query[name])
            or is_list_of_one(how, query[name])
            or is_pattern(rule, name)
        )
        if name in query
        else name == "Idempotency-Key" and re.fullmatch(r"[!-~]{1,255}", headers.get(name, "").strip(" \t"))
        for rule, name, how in violations
    )


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """What is no failure: answers that the API means, and what it does not get to see.

    OPTIONS is about what a path offers, as in Django REST framework: of an object that is gone it says what it says of one
    that never was, and of one that the caller may not see: 200 without a form. A nested path is a filter: of an object that
    is gone it finds nothing, and says no more than that.

    actix-http answers a request whose head is longer than it reads, with 400 or 431 and no body.
    """
    if len(response.request.url) > 60_000 and response.status_code in (400, 431) and not response.content:
        return False
    if isinstance(failure, UseAfterFree):
        return not (case.method == "OPTIONS" or case.path.endswith("/{pk}/comments/"))
    if isinstance(failure, AcceptedNegativeData):
        return not is_written_as_if_valid(failure, case, response)
    return True
