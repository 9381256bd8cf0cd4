"""The project's pipelines, in the KFP DSL: each written once, run by every engine.

``stages`` holds what they share: from the data to a packaged release that was tested as it will be served.
"""
