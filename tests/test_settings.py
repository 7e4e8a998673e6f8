"""The folders that the environment names."""

import pytest

from hakka.errors import InvalidInput
from hakka.settings import read_settings


def test_a_home_has_one_name_however_it_is_spelt(tmp_path, monkeypatch):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er")
    monkeypatch.chdir(tmp_path / "deep")
    plain = read_settings({"HAKKA_HOME": str(tmp_path / "home")})
    for spelling in (f"{tmp_path}/deep/../home", "../home", f"{tmp_path}/none/../home", f"{tmp_path}/./home/"):
        assert read_settings({"HAKKA_HOME": spelling}) == plain, spelling
    assert read_settings({"HAKKA_HOME": f"{tmp_path}/link/../home"}).home == tmp_path / "deep" / "home"
    assert read_settings({"HAKKA_REGISTRY": "../home/registry"}).registry == plain.registry


def test_a_link_stays_as_it_may_lead_elsewhere_later(tmp_path):
    (tmp_path / "current").symlink_to(tmp_path)
    assert read_settings({"HAKKA_REGISTRY": f"{tmp_path}/current"}).registry == tmp_path / "current"


def test_a_home_that_leads_in_a_circle_is_one_sentence(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InvalidInput, match=r"loop: must be a path, got links that lead in a circle"):
        read_settings({"HAKKA_HOME": f"{tmp_path}/loop/../loop"})
