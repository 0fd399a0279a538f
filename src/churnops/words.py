"""Names and labels as people read them."""


def capital(text: str) -> str:
    """Return a text with a capital first letter; the other letters stay as they are.

    >>> capital("log loss"), capital("ROC-AUC"), capital("")
    ('Log loss', 'ROC-AUC', '')
    """
    return text[:1].upper() + text[1:]


def words(name: str) -> str:
    """Return the name of a column or feature as words.

    >>> words("total_day_minutes"), words("plan=gold")
    ('Total day minutes', 'Plan: gold')
    """
    text, is_choice, choice = name.partition("=")
    text = capital(text.replace("_", " ").strip())
    return f"{text}: {choice}" if is_choice else text
