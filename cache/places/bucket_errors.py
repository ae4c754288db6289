"""What an object store's client says of a failure, as one line and an `OSError`."""

import errno
import re
from urllib.parse import urlsplit

from .location import Url

CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (a profile or SSO is not read: "
    "`aws configure export-credentials --format env` prints what it stands for)",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`",
    "az": "set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_USE_AZURE_CLI=true",
}
_ALLOW_HTTP = {"s3": "AWS_ALLOW_HTTP", "gs": "GOOGLE_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}

# Where the clients look for credentials when the environment holds none.
_METADATA = re.compile(r"169\.254\.\d+\.\d+|metadata\.google|token request")
# By what the client's report of it contains.
_NETWORK = (
    ("ConnectionRefused", errno.ECONNREFUSED, "{host} refuses connections"),
    ("failed to lookup address", errno.EHOSTUNREACH, "the name {host} is not known"),
    ("TimedOut", errno.ETIMEDOUT, "no answer from {host} in time"),
    ("Incomplete|Connection(Reset|Aborted)|BrokenPipe", errno.ECONNRESET, "the connection to {host} was cut"),
    ("InvalidContentType", errno.EIO, "{host} speaks no https; an http:// endpoint may be meant"),
    ("[Cc]ertificate", errno.EIO, "the certificate of {host} is not trusted"),
    ("[Uu]nreachable", errno.EHOSTUNREACH, "{host} cannot be reached"),
)


def refusal(error: Exception, url: Url) -> OSError:
    """The same failure as a `FileNotFoundError`, `PermissionError`, `FileExistsError` or another `OSError`.

    Its `strerror` is one line, its `filename` the URL. Beside the three, `errno` tells a range past the object's end
    (`ERANGE`), what this server does not know (`ENOTSUP`), an answer that was cut (`ECONNRESET`), and a bucket that is
    not there (`ENODEV`): that must not pass for an object that is not there.
    """
    return OSError(*_number_and_line(error, str(error), url), str(url))


def _number_and_line(error: Exception, text: str, url: Url) -> tuple[int, str]:
    scheme, _, rest = url.text.partition("://")
    code = next(iter(re.findall(r"<Code>(\w+)</Code>", text)), "")
    status = next(iter(re.findall(r"status code: (\d{3} ?[\w ]*)", text)), "").strip()
    kind, said = type(error).__name__, ", ".join(filter(None, (status, code)))
    if _METADATA.search(text):
        return errno.EACCES, f"no credentials were found; {CREDENTIALS[scheme]}"
    if code in ("NoSuchBucket", "ContainerNotFound"):
        return errno.ENODEV, f"there is no bucket {rest.partition('/')[0]}; make it, or give another"
    if isinstance(error, FileNotFoundError):
        return errno.ENOENT, "no such object"
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or status[:3] in ("401", "403"):
        return errno.EACCES, f"access is denied ({said}); check the credentials and what they allow"
    if kind in ("AlreadyExistsError", "PreconditionError"):
        return errno.EEXIST, "was written by somebody else in the meantime"
    if kind in ("NotSupportedError", "NotImplementedError") or status.startswith("501"):
        return errno.ENOTSUP, "not supported by this server"
    if status.startswith("416"):
        return errno.ERANGE, "the range is past the end of the object"
    if status:
        return errno.EIO, f"the server answers {said}"
    if "BadScheme" in text:
        return errno.EIO, f"the endpoint is http://; give an https:// one, or set {_ALLOW_HTTP[scheme]}=true"
    asked = re.search(r"https?://[^\s,]+", text)
    host = urlsplit(asked.group()).netloc if asked else "the server"
    network = ((number, line.format(host=host)) for sign, number, line in _NETWORK if re.search(sign, text))
    return next(network, (errno.EIO, first_line(error)))


def first_line(error: Exception) -> str:
    """What the client says, without its dump and without what it did when."""
    line = str(error).partition("\n")[0]
    return re.sub(r"Generic \w+ error: |Error performing \w+ \S+ in .*? - ", "", line)[:200]
