"""Data quality as a pytest suite: ``validate.validate`` runs it on a dataset, and so does pytest itself.

    python -m pytest --dataset=build/dataset --root=sample hakka/quality

Each ``test_*`` here is a check. Its severity and thresholds stand in section ``quality`` of params.yaml: an ``error``
fails the suite and stops the pipeline, a ``warning`` is reported, ``off`` is not run.
"""
