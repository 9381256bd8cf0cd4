"""The project's pipelines in the KFP DSL. Each is written once and runs on every engine.

``stages`` holds the steps that they share.
"""
