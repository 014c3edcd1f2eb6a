"""An S3 server for the tests here."""

from s3_fixtures import bucket, clean, line, s3, server

__all__ = ["bucket", "clean", "line", "s3", "server"]
