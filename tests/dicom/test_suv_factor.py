"""SUV factors of synthetic headers: decay × units × clocks × vendors, and what is refused.

Every expected factor is a literal that was computed from the formula in the comment above
it, the seconds counted by hand from the clock readings; nothing of the code under test took
part. Base header: 70 kg, 1.75 m, man, 350 MBq of F-18 (6586.2 s) at 09:00, scan at 10:00.
"""

import dataclasses

import pytest

from pipeline.dicom.pet_header import PetHeader, PetSlice
from pipeline.dicom.suv_factor import suv_factor
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings

BASE = PetHeader(
    slices=(PetSlice("20200310", "100000"),),
    units="BQML",
    decay_correction="START",
    corrected_image=("NORM", "ATTN", "SCAT", "DECY"),
    manufacturer="VENDOR",
    series_date="20200310",
    series_time="100000",
    weight_kg=70.0,
    height_m=1.75,
    sex="M",
    radionuclide=("C-111A1", "^18^Fluorine"),
    half_life_s=6586.2,
    total_dose_bq=350e6,
    injection_time="090000",
)


def clock(date, time):
    return {"series_date": date, "series_time": time, "slices": (PetSlice(date, time),)}


def slices(*times):
    return tuple(PetSlice("20200310", time) for time in times)


def frames(*entries):
    return tuple(PetSlice("20200310", *entry) for entry in entries)


ROWS = [
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    ("start, one hour", {}, {}, 0.000292127349244366),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "injection with its date",
        {"injection_time": "", "injection_datetime": "20200310090000"},
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3599.75 / 6586.2)
    (
        "injection DT padded and fractional",
        {"injection_time": "", "injection_datetime": "20200310090000.250000 "},
        {},
        0.000292119663303127,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "midnight, dated",
        dict(**clock("20200310", "003000"), injection_time="233000", injection_datetime="20200309233000"),
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "midnight, injection without date",
        dict(**clock("20200310", "003000"), injection_time="233000"),
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3590 / 6586.2)
    (
        "midnight between series and acquisition",
        {
            "series_date": "20200310",
            "series_time": "235950",
            "slices": (PetSlice("20200311", "000010"),),
            "injection_time": "230000",
        },
        {},
        0.000291820069273076,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "midnight of a leap day",
        dict(**clock("20200301", "001500"), injection_time="", injection_datetime="20200229231500"),
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (4199.5 / 6586.2)
    (
        "midnight of a new year",
        dict(**clock("20200101", "001000"), injection_time="", injection_datetime="20191231230000.5"),
        {},
        0.000311152337963658,
    ),
    # 70000 / 350e6 * 2 ** (3599.5 / 6586.2)
    ("half a second is .5", {"injection_time": "090000.5"}, {}, 0.000292111977564108),
    # 70000 / 350e6 * 2 ** (3600.250001 / 6586.2)
    ("microseconds in the series time", dict(**clock("20200310", "100000.250001")), {}, 0.000292135035418573),
    # 70000 / 350e6 * 2 ** (2700 / 6586.2)
    (
        "times of hours and minutes",
        dict(**clock("20200310", "1000"), injection_time="0915"),
        {},
        0.000265727598344427,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    ("times of hours", dict(**clock("20200310", "10"), injection_time="09"), {}, 0.000292127349244366),
    # 70000 / 350e6 * 2 ** (3570 / 6586.2)
    ("old times with colons", {"injection_time": "09:00:30"}, {}, 0.000291206478646189),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    ("old date with dots", {"series_date": "2020.03.10"}, {}, 0.000292127349244366),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "first slice acquired last: series time holds",
        {"slices": slices("101500", "100000", "100500")},
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3720 / 6586.2)
    (
        "series time too late: earliest of unsorted acquisitions",
        {"series_time": "110000", "slices": slices("101000", "100200", "100600")},
        {},
        0.000295840044191341,
    ),
    # 70000 / 350e6 * 2 ** (3720 / 6586.2)
    (
        "no series time: earliest acquisition",
        {"series_time": "", "slices": slices("101000", "100200")},
        {},
        0.000295840044191341,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    ("no acquisition time: series time", {"slices": (PetSlice(),)}, {}, 0.000292127349244366),
    # 70000 / 350e6 * 2 ** (3660 / 6586.2)
    (
        "GE: private scan time",
        {
            "manufacturer": "GE MEDICAL SYSTEMS",
            "series_time": "120000",
            "slices": slices("100130", "100430"),
            "ge_scan_datetime": "20200310100100.00",
        },
        {},
        0.000293977835746085,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "GE: private scan time unused where the series time holds",
        {"manufacturer": "GE MEDICAL SYSTEMS", "ge_scan_datetime": "20200310100100.00"},
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3660.5 / 6586.2)
    (
        "GE: private date left alone by de-identification",
        {
            "manufacturer": "GE MEDICAL SYSTEMS",
            "series_time": "120000",
            "slices": slices("100130"),
            "ge_scan_datetime": "20170310100100.50",
        },
        {},
        0.000293993305612579,
    ),
    # 70000 / 350e6 * 2 ** (3729 / 6586.2)
    (
        "GE: frame reference time counts to the frame's start",
        {
            "manufacturer": "GE MEDICAL SYSTEMS",
            "series_time": "120000",
            "slices": frames(("100815", 366000, 180000), ("100512", 183000, 180000), ("100209", 0, 180000)),
        },
        {},
        0.000296120391059352,
    ),
    # 70000 / 350e6 * 2 ** (3605.5 / 6586.2)
    (
        "Siemens: private decay correction time",
        {
            "manufacturer": "SIEMENS",
            "series_time": "120000",
            "slices": slices("100200"),
            "siemens_decay_datetime": "20200310100005.500000",
        },
        {},
        0.000292296491123781,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "Siemens: private time tells the truth beside an early series time",
        {
            "manufacturer": "SIEMENS",
            "series_time": "095000",
            "slices": slices("100200"),
            "siemens_decay_datetime": "20200310100000.000000",
        },
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** ((3780 - 240) / 6586.2) * x / (1 - exp(-x)), x = log(2) / 6586.2 * 120
    (
        "Siemens: altered series time, computed back from the frame",
        {"manufacturer": "SIEMENS", "series_time": "120000", "slices": frames(("100300", 240000, 120000))},
        {},
        0.000292125407900174,
    ),
    # 70000 / 350e6 * 2 ** ((3600 - 60) / 6586.2) * x / (1 - exp(-x)), x = log(2) / 6586.2 * 120
    (
        "Siemens: beds out of order, computed back from the frames",
        {
            "manufacturer": "SIEMENS",
            "series_time": "120000",
            "slices": frames(
                ("100600", 420000, 120000), ("100000", 60000, 120000), ("100300", 240000, 120000)
            ),
        },
        {},
        0.000292125407900174,
    ),
    # 70000 / 350e6 * 2 ** ((1200 - 600) / 1223.4) * x / (1 - exp(-x)), x = log(2) / 1223.4 * 600
    (
        "C-11: computed back, the average lies well before the middle",
        {
            "series_time": "120000",
            "half_life_s": 1223.4,
            "radionuclide": ("C-105A1", "^11^Carbon"),
            "slices": frames(("093000", 600000, 600000)),
            "injection_time": "091000",
        },
        {},
        0.000331432410801346,
    ),
    # 70000 / 350e6 * 2 ** (3750 / 6586.2)
    (
        "enhanced PET: decay correction time",
        {"decay_datetime": "20200310100230", "series_time": "120000"},
        {},
        0.000296775567328482,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "time zone in the injection's DT",
        {"injection_time": "", "injection_datetime": "20200310080000+0000", "timezone": "+0100"},
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "time zone across midnight",
        dict(
            **clock("20200310", "003000"),
            injection_time="",
            injection_datetime="20200309223000+0000",
            timezone="+0100",
        ),
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6
    ("administered: no decay", {"decay_correction": "ADMIN"}, {}, 0.0002),
    # 70000 / 350e6
    (
        "administered: times don't matter",
        {"decay_correction": "ADMIN", "series_time": "", "injection_time": "", "half_life_s": None},
        {},
        0.0002,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "dates shifted, times of day allowed",
        {"injection_datetime": "20200317090000", "injection_time": "090000"},
        {"date_shift": "use_times"},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (2700 / 6586.2)
    (
        "dates shifted, times of day across midnight",
        dict(**clock("20200310", "001500"), injection_datetime="20210317233000", injection_time="233000"),
        {"date_shift": "use_times"},
        0.000265727598344427,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "dose in MBq, conversion allowed",
        {"total_dose_bq": 350.0},
        {"dose_in_mbq": "convert"},
        0.000292127349244366,
    ),
    # 12500 / 45.5e6 * 2 ** (3600 / 6586.2)
    ("a child", {"weight_kg": 12.5, "total_dose_bq": 45.5e6}, {}, 0.000401273831379623),
    # 70000 / 350e6 * 2 ** (3600 / 6588)
    ("half-life of 109.8 min", {"half_life_s": 6588.0}, {}, 0.000292097110642877),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    ("half-life missing, radionuclide known", {"half_life_s": None}, {}, 0.000292127349244366),
    # 70000 / 150e6 * 2 ** (3600 / 4062.6)
    (
        "gallium",
        {"radionuclide": ("C-131A3", "^68^Gallium"), "half_life_s": 4062.6, "total_dose_bq": 150e6},
        {},
        0.000862499998942599,
    ),
    # 70000 / 37e6 * 2 ** (3600 / 282240)
    (
        "zirconium",
        {"radionuclide": ("C-168A4", "^89^Zirconium"), "half_life_s": 282240.0, "total_dose_bq": 37e6},
        {},
        0.00190869257587531,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    ("corrections not listed", {"corrected_image": ()}, {}, 0.000292127349244366),
    # 0.000551
    ("Philips: counts, SUV factor", {"units": "CNTS", "philips_suv_factor": 0.000551}, {}, 0.000551),
    # 0.000728
    (
        "Philips: counts, SUV factor before the activity factor",
        {"units": "CNTS", "philips_suv_factor": 0.000728, "philips_activity_factor": 1.602563},
        {},
        0.000728,
    ),
    # 1.602563 * 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "Philips: counts, activity factor alone",
        {"units": "CNTS", "philips_activity_factor": 1.602563},
        {},
        0.000468152481187098,
    ),
    # 4.709921 * 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "Philips: an SUV factor of 0 says none",
        {"units": "CNTS", "philips_suv_factor": 0.0, "philips_activity_factor": 4.709921},
        {},
        0.00137589673688037,
    ),
    # 0.000551
    (
        "Philips: counts need neither weight nor dose beside an SUV factor",
        {"units": "CNTS", "philips_suv_factor": 0.000551, "weight_kg": None, "total_dose_bq": None},
        {},
        0.000551,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "Philips: Bq/mL leave the private factors alone",
        {"units": "BQML", "philips_suv_factor": 0.003515736, "philips_activity_factor": 4.709921},
        {},
        0.000292127349244366,
    ),
    # 1.0
    ("stored SUV", {"units": "GML", "suv_type": "BW", "decay_correction": "ADMIN"}, {}, 1),
    # 1.0
    ("stored SUV without type", {"units": "GML", "weight_kg": None, "total_dose_bq": None}, {}, 1),
    # (1.10 * 70 - 128 * (70 / 175) ** 2) * 1000 / 350e6 * 2 ** (3600 / 6586.2)
    ("lean body mass, James, man", {}, {"normalisation": "lbm_james"}, 0.000235871968275594),
    # (1.07 * 60 - 148 * (60 / 165) ** 2) * 1000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "lean body mass, James, woman",
        {"sex": "F", "weight_kg": 60.0, "height_m": 1.65},
        {"normalisation": "lbm_james"},
        0.000186251016692966,
    ),
    # 9270 * 70 / (6680 + 216 * 70 / 1.75 ** 2) * 1000 / 350e6 * 2 ** (3600 / 6586.2)
    ("lean body mass, Janmahasatian, man", {}, {"normalisation": "lbm_janmahasatian"}, 0.000233105554506479),
    # 9270 * 60 / (8780 + 244 * 60 / 1.65 ** 2) * 1000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "lean body mass, Janmahasatian, woman",
        {"sex": "F", "weight_kg": 60.0, "height_m": 1.65},
        {"normalisation": "lbm_janmahasatian"},
        0.000163953744036237,
    ),
    # 70 ** 0.425 * 175 ** 0.725 * 0.007184 * 1e4 / 350e6 * 2 ** (3600 / 6586.2)
    ("body surface", {}, {"normalisation": "bsa"}, 7.71275887011815e-05),
    # (48.0 + 1.06 * (175 - 152)) * 1000 / 350e6 * 2 ** (3600 / 6586.2)
    ("ideal body weight, man", {}, {"normalisation": "ibw"}, 0.000302059679118674),
    # (45.5 + 0.91 * (165 - 152)) * 1000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "ideal body weight, woman",
        {"sex": "F", "weight_kg": 60.0, "height_m": 1.65},
        {"normalisation": "ibw"},
        0.000239252299031136,
    ),
    # 9270 * 70 / (6680 + 216 * 70 / 1.75 ** 2) / 70
    (
        "stored SUV by weight, asked for by lean mass",
        {"units": "GML", "suv_type": "BW"},
        {"normalisation": "lbm_janmahasatian"},
        0.797958681751107,
    ),
    # 70 / (1.10 * 70 - 128 * (70 / 175) ** 2)
    (
        "stored SUV by lean mass, asked for by weight",
        {"units": "GML", "suv_type": "LBMJAMES128"},
        {},
        1.23849964614296,
    ),
    # 70000 / 350e6 * 2 ** (3480 / 6586.2)
    (
        "acquisitions without dates run past midnight",
        {
            "series_date": "20200310",
            "series_time": "235800",
            "slices": (PetSlice("", "235800"), PetSlice("", "000100"), PetSlice("", "000400")),
            "injection_time": "230000",
        },
        {},
        0.000288461247394032,
    ),
    # 70000 / 350e6 * 2 ** (3480 / 6586.2)
    (
        "no date anywhere, past midnight, no series time",
        {
            "series_date": "",
            "series_time": "",
            "slices": (PetSlice("", "000100"), PetSlice("", "235800")),
            "injection_time": "230000",
        },
        {},
        0.000288461247394032,
    ),
    # 70000 / 350e6 * 2 ** (3480 / 6586.2)
    (
        "series time without date before midnight, acquisitions dated after it",
        {
            "series_date": "",
            "series_time": "235800",
            "slices": (PetSlice("20200311", "000100"),),
            "injection_time": "230000",
        },
        {},
        0.000288461247394032,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "injection and scan after midnight",
        dict(**clock("20200310", "011000"), injection_time="001000"),
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "injection before midnight dated to the scan's day, times of day allowed",
        dict(**clock("20200310", "003000"), injection_datetime="20200310233000", injection_time="233000"),
        {"date_shift": "use_times"},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "time zone west of Greenwich",
        {
            "injection_time": "",
            "injection_datetime": "20200310140000+0000",
            "timezone": "-0500",
            **clock("20200310", "100000"),
        },
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "zone of the injection unrelated, but its time of day stands beside it",
        {"injection_time": "090000", "injection_datetime": "20200310090000+0100"},
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2): 11:00 in +0200 is 10:00 in +0100
    (
        "enhanced PET: both moments in UTC offsets of their own",
        {
            "decay_datetime": "20200310110000+0200",
            "injection_time": "",
            "injection_datetime": "20200310090000+0100",
            "slices": (PetSlice("20200310", "110100", None, 120000.0, None, "+0200"),),
            "series_time": "",
        },
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "Philips: Bq/mL with a private SUV factor of 0",
        {"manufacturer": "Philips Medical Systems", "philips_suv_factor": 0.0},
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6588)
    (
        "United Imaging: half-life of 6588 s, date-less injection",
        {"manufacturer": "UIH", "model": "uMI 780", "half_life_s": 6588.0, "radionuclide": ("C-111A1",)},
        {},
        0.000292097110642877,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "Canon: nuclide by its text alone",
        {
            "manufacturer": "CANON_MEC",
            "model": "Cartesion Prime",
            "radionuclide": ("Fluorine-18",),
            "half_life_s": None,
        },
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "Mediso: no radionuclide named, half-life of F-18",
        {"manufacturer": "Mediso", "radionuclide": ()},
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3791.234 / 6586.2): 12:00:37 to 13:03:48.234
    (
        "CPS: series time after the scan, frame reference time 0",
        {
            "manufacturer": "CPS",
            "series_time": "134918.000000",
            "slices": frames(("130348.234000", 0, 180000)),
            "injection_time": "120037.000000",
        },
        {},
        0.000298066242102262,
    ),
    # 70000 / 150e6 * 2 ** (3600 / 45725)
    (
        "copper named in words",
        {"radionuclide": ("^64^Copper",), "half_life_s": 45725.0, "total_dose_bq": 150e6},
        {},
        0.000492841576699432,
    ),
    # 70000 / 1000e6 * 2 ** (120 / 76.3)
    (
        "rubidium two minutes after injection",
        {
            "radionuclide": ("C-159A2", "^82^Rubidium"),
            "half_life_s": 76.3,
            "total_dose_bq": 1e9,
            "injection_time": "095800",
        },
        {},
        0.00020822827951605,
    ),
    # 70000 / 350e6
    (
        "values that refer to the injection by their own decay correction time",
        {"decay_datetime": "20200310090000"},
        {},
        0.0002,
    ),
    # 0.000551 * 70 ** 0.425 * 175 ** 0.725 * 0.007184 * 1e4 / 70000
    (
        "Philips counts, asked for by body surface",
        {"units": "CNTS", "philips_suv_factor": 0.000551},
        {"normalisation": "bsa"},
        0.000145475257569266,
    ),
]


@pytest.mark.parametrize(("header", "settings", "expected"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_factor(header, settings, expected):
    result = suv_factor(dataclasses.replace(BASE, **header), SuvSettings(**settings))
    assert result.factors == (pytest.approx(expected, rel=1e-9),)


def test_no_decay_correction_gives_a_factor_per_slice():
    # 70000 / 350e6 * 2 ** ((3600 + ln(x / (1 - exp(-x))) / ln 2 * 6586.2) / 6586.2), x = ln 2 / 6586.2 * 120
    # and the same with 3900 s: the second bed starts five minutes later.
    header = dataclasses.replace(
        BASE,
        decay_correction="NONE",
        corrected_image=("NORM", "ATTN", "SCAT"),
        slices=frames(("100000", 0, 120000), ("100500", 0, 120000)),
    )
    result = suv_factor(header, SuvSettings())
    assert result.factors == (
        pytest.approx(0.00029397588210441, rel=1e-9),
        pytest.approx(0.00030340557323116, rel=1e-9),
    )


# What cannot give an SUV, and the words that the refusal must hold.
REFUSED = [
    ("no units", {"units": ""}, {}, "units"),
    ("percent", {"units": "PROPCNTS"}, {}, "PROPCNTS"),
    ("counts without a factor", {"units": "CNTS"}, {}, r"7053"),
    ("negative Philips factor", {"units": "CNTS", "philips_suv_factor": -1.0}, {}, "7053"),
    ("no weight", {"weight_kg": None}, {}, "weight"),
    ("weight of 0", {"weight_kg": 0.0}, {}, "weight"),
    ("weight in grams", {"weight_kg": 70000.0}, {}, r"weight.*grams\?"),
    ("no dose", {"total_dose_bq": None}, {}, "dose"),
    ("dose of 0", {"total_dose_bq": 0.0}, {}, "dose"),
    ("dose in MBq", {"total_dose_bq": 350.0}, {}, "MBq where Bq"),
    ("dose in kBq", {"total_dose_bq": 350e3}, {}, "impossible dose"),
    ("dose in Ci", {"total_dose_bq": 0.0095}, {}, "impossible dose.*Ci"),
    ("dose in mCi", {"total_dose_bq": 9.5}, {}, "impossible dose.*mCi"),
    ("dose in mCi, though MBq may be read", {"total_dose_bq": 9.5}, {"dose_in_mbq": "convert"}, "mCi"),
    ("body surface units", {"units": "CM2ML"}, {}, "CM2ML"),
    ("counts per second", {"units": "PROPCPS"}, {}, "PROPCPS"),
    ("stored SUV by body surface in g/mL", {"units": "GML", "suv_type": "BSA"}, {}, "BSA"),
    ("stored lean SUV of no named formula", {"units": "GML", "suv_type": "LBM"}, {}, "LBM"),
    (
        "negative Philips SUV factor, no activity factor",
        {"units": "CNTS", "philips_suv_factor": -0.5, "philips_activity_factor": 0.0},
        {},
        "7053",
    ),
    (
        "negative dose, even where MBq may be read",
        {"total_dose_bq": -350.0},
        {"dose_in_mbq": "convert"},
        "dose",
    ),
    ("no attenuation correction", {"corrected_image": ("NORM", "DECY")}, {}, "attenuation"),
    ("no decay correction named", {"decay_correction": ""}, {}, "decay correction"),
    ("decay correction unknown", {"decay_correction": "SCAN"}, {}, "SCAN"),
    ("START without DECY", {"corrected_image": ("ATTN",)}, {}, "contradict"),
    ("NONE with DECY", {"decay_correction": "NONE"}, {}, "contradict"),
    (
        "NONE without frame durations",
        {"decay_correction": "NONE", "corrected_image": ("ATTN",)},
        {},
        "each slice's own times",
    ),
    ("half-life of C-11 on F-18", {"half_life_s": 1223.4}, {}, "half-life"),
    ("half-life in minutes", {"half_life_s": 109.8}, {}, "half-life"),
    (
        "half-life in minutes, no radionuclide",
        {"half_life_s": 109.8, "radionuclide": ()},
        {},
        "none of those",
    ),
    ("half-life in minutes says so", {"half_life_s": 109.77}, {}, r"minutes\?"),
    (
        "injection in UTC, scan's zone unknown",
        {"injection_time": "", "injection_datetime": "20200310090000+0000"},
        {},
        "time zone",
    ),
    (
        "injection before midnight dated to the scan's day",
        dict(**clock("20200310", "003000"), injection_datetime="20200310233000", injection_time="233000"),
        {},
        "after the scan.*use_times",
    ),
    ("no half-life, no radionuclide", {"half_life_s": None, "radionuclide": ()}, {}, "half-life"),
    ("half-life of 0, no radionuclide", {"half_life_s": 0.0, "radionuclide": ()}, {}, "half-life"),
    ("no injection time", {"injection_time": ""}, {}, "injection time"),
    ("injection time that is none", {"injection_time": "256000"}, {}, "injection time"),
    ("injection five minutes after the scan", {"injection_time": "100500"}, {}, "after the scan"),
    (
        "dated injection after the scan",
        {"injection_datetime": "20200310101000", "injection_time": ""},
        {},
        "after",
    ),
    ("injection six hours before", {"injection_time": "040000"}, {}, "too long before"),
    (
        "injection on another day",
        {"injection_datetime": "20200311090000"},
        {},
        "use_times",
    ),
    (
        "five hours apart on the same day: no shift of dates",
        {"injection_datetime": "20200310050000", "injection_time": ""},
        {"date_shift": "use_times"},
        "too long before",
    ),
    ("two injection times", {"injection_datetime": "20200310083000"}, {}, "contradict"),
    ("no times of the scan", {"series_time": "", "slices": (PetSlice(),)}, {}, "acquisition time"),
    (
        "late series time and frames that disagree",
        {"series_time": "120000", "slices": frames(("100000", 60000, 120000), ("100300", 60000, 120000))},
        {},
        "not clear",
    ),
    ("two radiopharmaceuticals", {"radiopharmaceutical_items": 2}, {}, "several radiopharmaceuticals"),
    ("weight differs between slices", {"differing": ("weight_kg",)}, {}, "weight_kg"),
    ("stored SUV of an unknown kind", {"units": "GML", "suv_type": "XYZ"}, {}, "XYZ"),
    (
        "stored lean SUV without height",
        {"units": "GML", "suv_type": "LBMJANMA", "height_m": None},
        {},
        "height",
    ),
    ("height in cm", {"height_m": 175.0}, {"normalisation": "lbm_james"}, "height"),
    ("sex not given", {"sex": "O"}, {"normalisation": "ibw"}, "sex"),
    (
        "James' formula beyond its range",
        {"weight_kg": 250.0, "height_m": 1.5},
        {"normalisation": "lbm_james"},
        "range",
    ),
]


@pytest.mark.parametrize(
    ("header", "settings", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_refused(header, settings, words):
    with pytest.raises(SuvError, match=words):
        suv_factor(dataclasses.replace(BASE, **header), SuvSettings(**settings))


def test_all_that_is_missing_is_named_at_once():
    with pytest.raises(SuvError, match=r"units.*weight.*dose"):
        suv_factor(PetHeader(slices=(PetSlice(),)), SuvSettings())


def test_assumptions_are_told():
    injected_before_midnight = dataclasses.replace(
        BASE, **clock("20200310", "003000"), injection_time="233000"
    )
    told = suv_factor(injected_before_midnight, SuvSettings()).trace.assumptions
    assert any("day before" in text for text in told)
    told = suv_factor(dataclasses.replace(BASE, half_life_s=None), SuvSettings()).trace.assumptions
    assert any("F-18" in text for text in told)


@pytest.mark.parametrize(("start", "flagged"), [("090000", False), ("073000", True), ("093000", True)])
def test_uptake_time_is_flagged_outside_45_to_90_minutes(start, flagged):
    result = suv_factor(dataclasses.replace(BASE, injection_time=start), SuvSettings())
    assert any("uptake time" in flag for flag in result.trace.flags) == flagged


@pytest.mark.parametrize(
    ("factor", "words"),
    # 2 ** ((1200 + 60) / 6586.2), to 10:00; 2 ** ((1200 + 3600 + 60) / 6586.2), to the injection at 09:00
    [(1.1418, ""), (1.0, ""), (1.6678, "60 min earlier")],
)
def test_decay_factors_that_speak_for_another_time_are_flagged(factor, words):
    slices = (PetSlice("20200310", "102000", 1260000.0, 120000.0, factor),)
    flags = suv_factor(dataclasses.replace(BASE, slices=slices), SuvSettings()).trace.flags
    told = [flag for flag in flags if "Decay Factor" in flag]
    assert bool(told) == bool(words) and words in "".join(told)


def test_a_tracer_of_another_nuclide_is_flagged():
    header = dataclasses.replace(BASE, radiopharmaceutical="68Ga-DOTATATE")
    assert any("Ga-68" in flag for flag in suv_factor(header, SuvSettings()).trace.flags)


def test_header_survives_json():
    assert PetHeader.from_json(BASE.as_json()) == BASE
