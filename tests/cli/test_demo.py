"""`fcn-edge demo`: what a source that fails does to it."""

from __future__ import annotations

from tests.benchrecords import record


def test_demo_of_a_recording_that_is_cut_off_exits_4(command, monkeypatch, tmp_path):
    from fcn_edge.demo import DemoResult

    summary = {"frames_out": 3, "fps": 9.0, "lost": "my.mp4: 40 frames expected, 3 came"}
    monkeypatch.setattr(
        "fcn_edge.demo.run_demo", lambda *_, **__: DemoResult(record(), summary, (), {"out": "all of it"})
    )
    done = command("demo", "--out", tmp_path / "demo", "--json")
    done.refuses(4, "my.mp4", 40, 3)
    assert done.json["summary"]["lost"]
    assert "3 frames" in command("demo").out


def test_demo_of_a_missing_video_exits_2(command, tmp_path):
    command("demo", "--source", tmp_path / "none.mp4", "--out", tmp_path / "demo").refuses(2, "none.mp4")
