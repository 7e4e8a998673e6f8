"""Data quality as a pytest suite: ``validate.validate`` runs it on a dataset, and so does pytest itself.

    python -m pytest --dataset=build/dataset hakka/quality checks

Each ``test_*`` here is a check, and so is each in a folder of the user's, such as ``checks``: it gets the fixtures of
``fixtures.py``. Severity and thresholds stand in section ``quality`` of params.yaml: an ``error`` fails the suite and
stops the pipeline, a ``warning`` is reported, ``off`` is not run.
"""
