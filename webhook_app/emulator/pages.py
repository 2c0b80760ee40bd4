"""Pages that come where JSON or a picture was expected: of a proxy, a framework, an object store."""

BAD_GATEWAY = """<html>
<head><title>502 Bad Gateway</title></head>
<body>
<center><h1>502 Bad Gateway</h1></center>
<hr><center>nginx</center>
</body>
</html>
"""
SERVER_ERROR = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Server Error</title></head>
<body><div class="code">500</div><div class="message">Server Error</div></body>
</html>
"""
NO_PICTURE = """<!doctype html>
<html lang=en>
<title>Error 404</title>
<h1>This object could not be viewed</h1>
</html>
"""
ACCESS_DENIED = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
)
