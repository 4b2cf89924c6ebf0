"""Packages of the wheel: the package and, as `pipeline.shipped`, the files of config/ that its commands read."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["pipeline", "pipeline.*"]), "pipeline.shipped"],
    package_dir={"pipeline.shipped": "config"},
)
