"""The pictures of the generated demo data: overhead views drawn with numpy."""
