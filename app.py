"""The page: ``python app.py`` serves it; ``app/settings.py`` lists what can be set."""

from app.ui import serve

if __name__ == "__main__":
    serve()
