"""Under gevent: what blocks does not stop the others, and a bucket works as it does elsewhere."""

import subprocess
import sys
import uuid

from tests.buckets import Service

# The read can only end when the greenlet that was spawned before it has had a turn.
BESIDE = """
from gevent import monkey
monkey.patch_all()
import os
import gevent
from webhook_app.storage.blocking import blocking
out, into = os.pipe()
gevent.spawn(os.write, into, b"told")
print(blocking(lambda: os.read(out, 4)).decode())
"""
BUCKET = """
from gevent import monkey
monkey.patch_all()
import sys
import gevent
from webhook_app.storage.location import location
from webhook_app.storage.s3 import S3Storage
storage = S3Storage(location(sys.argv[1]))
gevent.joinall([gevent.spawn(storage.check) for _ in range(8)], raise_error=True, timeout=60)
print(list(storage.objects("blobs")))
"""


def said(script: str, *words: str) -> str:
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_blocks_leaves_the_hub_free() -> None:
    assert said(BESIDE) == "told"


def test_a_bucket_is_used_by_many_greenlets(s3: Service) -> None:
    assert said(BUCKET, s3.url(f"gevent/{uuid.uuid4().hex}")) == "[]"
