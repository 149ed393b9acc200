"""MLflow: experiments, runs, and a registry of models that load without running any code from their artifact.

The only room that imports mlflow, and only inside its functions: the import costs seconds that the web UI and the
command line should not wait for.
"""
