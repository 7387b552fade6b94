"""No credential of a source's address is ever printed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fcn_edge.redaction import redacted

SCHEMES = st.sampled_from(["rtsp://", "RTSP://", "rtsps://", "http://", "https://"])
SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1).map(lambda s: f"<<{s}>>")
NO_SPACE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1).map(lambda s: f"<<{s}>>")
KEYS = st.sampled_from(["password", "pwd", "token", "api_key", "access-token", "Auth", "user"])
IN_QUERY = st.text("abcXYZ019-._~%!:@/", min_size=1).map(lambda s: f"<<{s}>>")


@settings(max_examples=50)
@given(SCHEMES, SECRETS, SECRETS)
def test_user_and_password_are_hidden_whatever_they_hold(scheme, user, password):
    shown = redacted(f"{scheme}{user}:{password}@camera.local:554/live")
    assert shown == f"{scheme}***@camera.local:554/live"


@given(SCHEMES, KEYS, IN_QUERY)
def test_secrets_in_a_query_are_hidden(scheme, key, secret):
    assert secret not in redacted(f"{scheme}camera/live?channel=1&{key}={secret}&x=2")


@given(NO_SPACE, NO_SPACE)
def test_secrets_in_a_pipeline_are_hidden(user, password):
    shown = redacted(f"gst:rtspsrc location=rtsp://{user}:{password}@camera/1 ! decodebin ! appsink")
    assert shown == "gst:rtspsrc location=rtsp://***@camera/1 ! decodebin ! appsink"
    assert "hunter2" not in redacted('gst:rtspsrc user-id=admin user-pw="hunter2 x" ! appsink')


@given(SCHEMES, SECRETS)
def test_redacting_again_changes_nothing(scheme, text):
    assert redacted(redacted(f"{scheme}{text}")) == redacted(f"{scheme}{text}")


def test_harmless_addresses_stay():
    for uri in ("0", "/home/me@work/a.mp4", "file:///a@b.mp4", "rtsp://camera:554/live", "synthetic:street,seed=1"):
        assert redacted(uri) == uri
