"""The words an emulator understands, each with its meaning: one vocabulary for options, fates, help and README."""

from enum import StrEnum


class Word(StrEnum):
    """A word with its `meaning`, one line for people."""

    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> "Word":
        word = str.__new__(cls, value)
        word._value_ = value
        word.meaning = meaning
        return word


class SubmitForm(Word):
    """How the answer to a submit looks."""

    AUTO = "auto", "as documented: success or processing, by time and instant_response"
    PROCESSING = "processing", "processing at once, whatever was asked"
    SUCCESS = "success", "success without an id, once the picture is done"
    SUCCESS_NULL_ID = "success_null_id", "success with a null id"
    SUCCESS_INT_ID = "success_int_id", "success with an id"
    FAILED = "failed", "HTTP 200, 'Failed, Try Again'; no job"
    ERROR = "error", "500 'Internal server error'; no job"


class SubmitFault(Word):
    """What goes wrong with a submit on its way. Taken: the job runs, is called back and has its pictures.

    `reset_before_read` reads the body all the same, as the fate is in it; what the client sees is no different.
    """

    NONE = "none", "nothing"
    RESET_BEFORE_READ = "reset_before_read", "connection reset; not taken"
    RESET_AFTER_READ = "reset_after_read", "taken, then the connection is reset"
    SILENT = "silent", "taken, never answered; closed after silence_s"
    HEADERS_ONLY = "headers_only", "taken; status line and headers, then silence"
    CUT = "cut", "taken; the connection closes after half of the body"
    SLOW = "slow", "taken, answered after slow_s; the callback does not wait for that"
    HTML_502 = "html_502", "an HTML 502; not taken"
    HTML_502_TAKEN = "html_502_taken", "an HTML 502, but taken"
    GARBAGE = "garbage", "taken; a 200 whose JSON breaks off"
    JSON_503 = "json_503", "the documented 503 error; not taken"
    RATE_LIMITED = "rate_limited", "429 with retry_after; not taken"


class Ending(Word):
    """How an accepted generation ends."""

    SUCCESS = "success", "with its pictures"
    FAILED = "failed", "'Failed, Try Again'"


class CallbackHabit(Word):
    """What the webhook of a finished job hears."""

    ONCE = "once", "the result"
    TWICE = "twice", "the result, two times"
    NEVER = "never", "nothing"
    LATE = "late", "the result, callback_late_s seconds later"
    EARLY = "early", "the result, before the submit is answered"
    REORDERED = "reordered", "the result, then 'processing', then 'failed'"
    UNTRACKED = "untracked", "the result without a track_id"
    MALFORMED = "malformed", "JSON that breaks off, and nothing after it"
    HUGE = "huge", "a body over 1 MiB, and nothing after it"
    HTML = "html", "an HTML error page, and nothing after it"
    ERROR_WITH_PICTURES = "error_with_pictures", "status 'error', but the pictures are there: a success, as observed"
    FORGED = "forged", "'failed' at the URL with its last character changed, then the result"


class FetchForm(Word):
    """What a fetch of the job is answered."""

    THIN = "thin", "as documented: status, id and links, nothing else"
    PROCESSING = "processing", "'processing' for ever"
    UNKNOWN = "unknown", "'Request not found', with HTTP 200"
    OTHER_JOB = "other_job", "another job's success, with its id and pictures"
    HTML = "html", "an HTML page, with HTTP 200"
    MISSING_PICTURES = "missing_pictures", "success without pictures two times, then with them"
    ERROR = "error", "'Internal server error': the call failed, not the job"


class PictureFault(Word):
    """What the first picture_fault_reads reads of each finished picture are answered."""

    NONE = "none", "the picture"
    NOT_FOUND = "not_found", "404"
    HTML = "html", "an HTML page, with HTTP 200"
    FORBIDDEN = "forbidden", "403, the XML of an object store"


class PictureKind(Word):
    """What the bytes of a job's pictures are. Equal asks still have equal bytes."""

    PNG = "png", "a PNG as asked"
    JPEG = "jpeg", "a JPEG under the same name"
    WEBP = "webp", "a WebP under the same name"
    TRUNCATED = "truncated", "a PNG without its last third, told as whole"
    CRC = "crc", "a PNG with a byte changed in the middle"
    BOMB = "bomb", "a small PNG whose header says 50,000 x 50,000"
    SVG = "svg", "an SVG with a script, told as image/png"
    GIF = "gif", "a GIF"
    TRAILING_HTML = "trailing_html", "a PNG, then an HTML page with a script"
    TRAILING_ZIP = "trailing_zip", "a PNG, then a ZIP archive"
    WRONG_SIZE = "wrong_size", "a PNG of half the width and height"
    BLANK = "blank", "a black PNG"
    NEAR_BLANK = "near_blank", "a black PNG with a few grey words"


class PictureTransfer(Word):
    """How the bytes of a job's pictures come over the wire."""

    WHOLE = "whole", "at once"
    DRIP = "drip", "drip_bytes_s bytes a second"
    CUT = "cut", "the connection closes after half of them"
    WRONG_LENGTH = "wrong_length", "whole, but Content-Length says 1,000 more"
    RESET = "reset", "the connection is reset after half of them"
    REDIRECTS = "redirects", "behind redirects_length redirects"


class MessageForm(Word):
    """How a message is told. Refusals of a wrong body are told as the error style has them."""

    MESSAGE = "message", "as its page has it"
    MESSEGE = "messege", "in the misspelt member"
    BAG = "bag", "as an object of lists"
    EMPTY = "empty", "as an empty text"


class IdForm(Word):
    """How an id that is a number is told."""

    NUMBER = "number", "as a number"
    TEXT = "text", "as a text"
    NULL = "null", "as null"
    ABSENT = "absent", "not at all; fetch_result still ends in it"


class StatusForm(Word):
    """Which words a status has."""

    USUAL = "usual", "success, processing"
    ODD = "odd", "'ready' for success, 'queued' for processing"


class EtaForm(Word):
    """How an eta is told."""

    WHOLE = "whole", "whole seconds"
    FRACTION = "fraction", "with decimals"


class ProxyLinksForm(Word):
    """How proxy_links are told, where the answer has them."""

    LIST = "list", "a list"
    EMPTY_LIST = "empty_list", "[], whatever there is"
    EMPTY_TEXT = "empty_text", "an empty text"
    NULL = "null", "null"
    TEXT = "text", "the first one, bare"
    OBJECT = "object", 'an object of "0", "1", ...'
    ABSENT = "absent", "not at all"


class TrackIdForm(Word):
    """How a track_id comes back."""

    SAME = "same", "as it was sent"
    NUMBER = "number", "as a number, when it is digits"
    ABSENT = "absent", "not at all"


class ErrorStyle(Word):
    """How errors are told."""

    HTTP = "http", "real status codes, as the current documents say"
    LEGACY = "legacy", "HTTP 200 for everything, as observed"
