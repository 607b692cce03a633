"""Sources made of files, over written /sys trees: RAPL, hwmon, Jetson boards, and which of them may be added up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heliotrope.agent.power.reading import Channel, ErrorKind, Health, Reading, Scope
from heliotrope.agent.power.sources.detect import detect
from heliotrope.agent.power.sources.hwmon import open_hwmon
from heliotrope.agent.power.sources.jetson import open_jetson
from heliotrope.agent.power.sources.names import HARDWARE
from heliotrope.agent.power.sources.overlap import choose, covers_host
from heliotrope.agent.power.sources.rapl import open_rapl

Write = Callable[[dict[str, Any]], Path]


def now_s() -> float:
    return 5.0


def zone(number: str, name: str, energy_uj: int) -> dict[str, Any]:
    folder = f"class/powercap/intel-rapl:{number}"
    return {f"{folder}/name": name, f"{folder}/energy_uj": energy_uj, f"{folder}/max_energy_range_uj": 262_143_328_850}


TWO_SOCKETS = {
    **zone("0", "package-0", 1_500_000),
    **zone("0:0", "core", 900_000),
    **zone("0:1", "dram", 300_000),
    **zone("1", "package-1", 2_500_000),
    **zone("1:0", "dram", 400_000),
}


def test_rapl_reads_every_zone_in_joules_with_its_wrap(sys_tree: Write) -> None:
    source, problems = open_rapl(sys_tree(TWO_SOCKETS), now_s)
    assert source is not None and problems == []
    found = {reading.device: (reading.scope, reading.energy_j, reading.power_w) for reading in source.read()}
    assert found["rapl:package-0"] == (Scope.PACKAGE, 1.5, None)
    assert found["rapl:dram:1:0"] == (Scope.DRAM, 0.4, None)
    assert {channel.wrap_j for channel in source.channels} == {262_143.328850}


def test_rapl_zones_that_are_not_added_up(sys_tree: Write) -> None:
    sources, _ = detect(HARDWARE, sys_root=sys_tree(TWO_SOCKETS), monotonic_s=now_s)
    assert {reading.device for source in sources for reading in source.read()} == {
        "rapl:package-0",
        "rapl:package-1",
        "rapl:dram:0:1",
        "rapl:dram:1:0",
    }


def test_psys_is_taken_instead_of_what_it_contains(sys_tree: Write) -> None:
    sources, _ = detect(HARDWARE, sys_root=sys_tree({**TWO_SOCKETS, **zone("2", "psys", 9_000_000)}), monotonic_s=now_s)
    assert [reading.device for source in sources for reading in source.read()] == ["rapl:psys"]


def test_the_mmio_double_of_a_package_is_left_out(sys_tree: Write) -> None:
    folder = "class/powercap/intel-rapl-mmio:0"
    root = sys_tree({**zone("0", "package-0", 1), f"{folder}/name": "package-0", f"{folder}/energy_uj": 1})
    source, _ = open_rapl(root, now_s)
    assert source is not None and len(source.channels) == 1


def test_a_zone_that_cannot_be_read_is_absent_with_its_reason(sys_tree: Write) -> None:
    root = sys_tree(zone("0", "package-0", 1))
    energy = root / "class/powercap/intel-rapl:0/energy_uj"
    energy.unlink()
    energy.mkdir()  # root may read anything, so a file that refuses is made by its type
    source, problems = open_rapl(root, now_s)
    assert source is None
    assert str(energy) in problems[0] and ";" in problems[0]


def test_a_meter_that_vanishes_gives_no_data_and_is_not_asked_again(sys_tree: Write) -> None:
    root = sys_tree(zone("0", "package-0", 7_000_000))
    source, _ = open_rapl(root, now_s)
    assert source is not None
    energy = root / "class/powercap/intel-rapl:0/energy_uj"
    energy.unlink()
    (reading,) = source.read()
    assert (reading.health, reading.energy_j, reading.error_kind) == (Health.FAILED, None, ErrorKind.STOP)
    energy.write_text("8000000\n")
    assert source.read()[0].health is Health.FAILED


def test_a_number_that_is_none_is_asked_again(sys_tree: Write) -> None:
    root = sys_tree(zone("0", "package-0", 7_000_000))
    source, _ = open_rapl(root, now_s)
    assert source is not None
    energy = root / "class/powercap/intel-rapl:0/energy_uj"
    energy.write_text("\n")
    assert source.read()[0].error_kind is ErrorKind.RETRY
    energy.write_text("8000000\n")
    assert source.read()[0].energy_j == 8.0


def test_hwmon_takes_only_chips_whose_scope_is_known(sys_tree: Write) -> None:
    root = sys_tree(
        {
            "class/hwmon/hwmon0/name": "power_meter",
            "class/hwmon/hwmon0/device/power1_average": 345_000_000,
            "class/hwmon/hwmon1/name": "nobody_knows",
            "class/hwmon/hwmon1/power1_input": 1_000_000,
            "class/hwmon/hwmon2/name": "amd_energy",
            "class/hwmon/hwmon2/energy1_label": "Ecore000",
            "class/hwmon/hwmon2/energy1_input": 5_000_000,
            "class/hwmon/hwmon2/energy2_label": "Esocket0",
            "class/hwmon/hwmon2/energy2_input": 9_000_000,
        }
    )
    source, problems = open_hwmon(root, now_s)
    assert source is not None and problems == []
    found = [(reading.scope, reading.power_w, reading.energy_j) for reading in source.read()]
    assert found == [(Scope.NODE, 345.0, None), (Scope.PACKAGE, None, 9.0)]


def test_an_integrated_amd_gpu_shows_the_package(sys_tree: Write) -> None:
    chip = {"class/hwmon/hwmon0/name": "amdgpu", "class/hwmon/hwmon0/power1_average": 15_000_000}
    discrete, _ = open_hwmon(sys_tree(chip), now_s)
    integrated, _ = open_hwmon(sys_tree({"class/hwmon/hwmon0/in1_label": "vddnb"}), now_s)
    assert discrete is not None and integrated is not None
    assert (discrete.channels[0].scope, integrated.channels[0].scope) == (Scope.GPU, Scope.PACKAGE)


def test_grace_meters_do_not_contain_each_other(sys_tree: Write) -> None:
    files: dict[str, Any] = {}
    labels = ("Module Power Socket 0", "Grace Power Socket 0", "CPU Power Socket 0", "SysIO Power Socket 0")
    for number, label in enumerate(labels):
        folder = f"class/hwmon/hwmon{number}"
        files |= {
            f"{folder}/name": "power_meter",
            f"{folder}/device/power1_average": (number + 1) * 100_000_000,
            f"{folder}/device/power1_oem_info": label,
        }
    source, _ = open_hwmon(sys_tree(files), now_s)
    assert source is not None
    assert [(c.scope, c.label) for c in source.channels] == [(Scope.MODULE, labels[0]), (Scope.PACKAGE, labels[1])]


def ina3221(rails: dict[str, tuple[int, int]], chip: str = "1-0040") -> dict[str, Any]:
    folder = f"bus/i2c/drivers/ina3221/{chip}/hwmon/hwmon3"
    files: dict[str, Any] = {f"{folder}/in7_label": "sum of shunt voltages", f"{folder}/in7_input": 999}
    for number, (label, (millivolts, milliamperes)) in enumerate(rails.items(), start=1):
        files |= {
            f"{folder}/in{number}_label": label,
            f"{folder}/in{number}_input": millivolts,
            f"{folder}/curr{number}_input": milliamperes,
        }
    return files


MODEL = "firmware/devicetree/base/model"
ORIN_RAILS = {"VDD_GPU_SOC": (20000, 300), "VDD_CPU_CV": (20000, 100), "VIN_SYS_5V0": (5000, 800)}
XAVIER = {"GPU": (1000, 1), "CPU": (1000, 2), "SOC": (1000, 3)}
XAVIER_2 = {"CV": (1000, 4), "VDDRQ": (1000, 5), "SYS5V": (1000, 6)}


@pytest.mark.parametrize(
    ("model", "files", "device", "power_w"),
    [
        ("NVIDIA Jetson AGX Orin Developer Kit", ina3221(ORIN_RAILS), "jetson:AGX Orin", 12.0),
        (
            "NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
            ina3221({"VDD_IN": (5000, 2000), "VDD_CPU_GPU_CV": (5000, 900), "VDD_SOC": (5000, 500)}),
            "jetson:Orin NX",
            10.0,
        ),
        ("NVIDIA Jetson Orin Nano Developer Kit", ina3221({"VDD_IN": (5000, 1400)}), "jetson:Orin Nano", 7.0),
        ("NVIDIA Jetson Xavier NX Developer Kit", ina3221({"VDD_IN": (5000, 1000)}), "jetson:Xavier NX", 5.0),
        ("Jetson-AGX", {**ina3221(XAVIER), **ina3221(XAVIER_2, "1-0041")}, "jetson:AGX Xavier", 0.021),
        (
            "NVIDIA Jetson Nano Developer Kit",
            {
                "bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN",
                "bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": 3500,
                "bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_1": "POM_5V_GPU",
                "bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power1_input": 800,
            },
            "jetson:Nano",
            3.5,
        ),
        (
            "NVIDIA Jetson AGX Thor Developer Kit",
            {"bus/i2c/drivers/ina238/2-0044/hwmon/hwmon4/power1_input": 60_000_000},
            "jetson:AGX Thor",
            60.0,
        ),
    ],
)
def test_the_total_of_each_board(
    sys_tree: Write, model: str, files: dict[str, Any], device: str, power_w: float
) -> None:
    source, problems = open_jetson(sys_tree({**files, MODEL: model}), now_s)
    assert source is not None and problems == []
    (reading,) = source.read()
    assert (reading.device, reading.scope) == (device, Scope.NODE)
    assert reading.power_w == pytest.approx(power_w)


def test_a_board_without_one_of_its_rails_has_no_total(sys_tree: Write) -> None:
    rails = {label: value for label, value in ORIN_RAILS.items() if label != "VIN_SYS_5V0"}
    source, problems = open_jetson(sys_tree({**ina3221(rails), MODEL: "NVIDIA Jetson AGX Orin"}), now_s)
    assert source is None and "VIN_SYS_5V0" in problems[0]


def test_a_rail_that_fails_fails_the_total(sys_tree: Write) -> None:
    root = sys_tree({**ina3221(ORIN_RAILS), MODEL: "NVIDIA Jetson AGX Orin"})
    source, _ = open_jetson(root, now_s)
    assert source is not None
    (root / "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr2_input").write_text("\n")
    (reading,) = source.read()
    assert (reading.health, reading.power_w) == (Health.FAILED, None)


def test_an_unknown_board_is_not_guessed(sys_tree: Write) -> None:
    source, problems = open_jetson(sys_tree({**ina3221({"VDD_IN": (5000, 1)}), MODEL: "Somebody's Carrier"}), now_s)
    assert source is None and "Somebody's Carrier" in problems[0] and "VDD_IN" in problems[0]


def channel(source: str, scope: Scope, name: str = "") -> Channel:
    return Channel(device=f"{source}:{name or scope}", source=source, scope=scope)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ([channel("nvml", Scope.GPU), channel("rapl", Scope.NODE), channel("rapl", Scope.PACKAGE)],
         {"nvml:gpu", "rapl:package"}),
        ([channel("nvml", Scope.MODULE), channel("hwmon", Scope.PACKAGE), channel("hwmon", Scope.MODULE)],
         {"nvml:module"}),
        ([channel("nvml", Scope.GPU), channel("jetson", Scope.NODE)], {"jetson:node"}),
        ([channel("nvml", Scope.GPU), channel("hwmon", Scope.GPU)], {"nvml:gpu", "hwmon:gpu"}),
        ([channel("rapl", Scope.PACKAGE), channel("hwmon", Scope.PACKAGE)], {"rapl:package"}),
        ([channel("hwmon", Scope.NODE, "a"), channel("hwmon", Scope.NODE, "b")], {"hwmon:a"}),
        ([channel("rapl", Scope.CORE)], {"rapl:core"}),
        ([], set()),
    ],
)  # fmt: skip
def test_only_meters_that_do_not_overlap_are_chosen(channels: list[Channel], expected: set[str]) -> None:
    assert choose(channels) == expected


def test_gpus_alone_leave_the_host_to_the_model() -> None:
    assert not covers_host([channel("nvml", Scope.GPU)])
    assert covers_host([channel("nvml", Scope.GPU), channel("rapl", Scope.PACKAGE)])


@pytest.mark.parametrize(
    "values",
    [
        {"health": Health.LIVE},
        {"health": Health.FAILED, "power_w": 0.0, "error_kind": ErrorKind.RETRY},
        {"health": Health.FAILED},
        {"health": Health.LIVE, "power_w": 1.0, "error_kind": ErrorKind.RETRY},
    ],
)
def test_a_reading_is_either_data_or_an_error(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="reading of x"):
        Reading(device="x", source="rapl", scope=Scope.NODE, taken_s=1.0, **values)


def test_an_old_reading_is_not_usable() -> None:
    reading = Reading(device="x", source="rapl", scope=Scope.NODE, taken_s=10.0, power_w=5.0)
    assert reading.age_s(12.5) == 2.5
    assert reading.is_usable(12.5, limit_s=3.0) and not reading.is_usable(14.0, limit_s=3.0)
