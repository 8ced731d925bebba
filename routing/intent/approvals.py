"""Whether a short text only agrees to what was proposed: "yes", "ok go on", "继续", "option B", "👍"."""

import re
import unicodedata
from collections.abc import Collection, Sequence

# Who agrees says little. Beyond this, there is more in a text than consent.
_MAX_CHARS = 80
_MAX_WORDS = 12

# What agrees, and what may stand beside it without adding anything. A text is an approval when it consists of these
# alone and one of the former is among them: any word that is in neither list makes it a request of its own.
_AGREES = """
yes|yep|yeah|yea|yup|ya|yess|yeess|yse|yas|y|ok|okay|okey|oki|k|kk|okk|okok|okie|okey dokey|oke|sure|sure thing
fine|alright|all right|right|correct|exactly|agreed|agree|i agree|approved|approve|i approve|confirmed|confirm
absolutely|definitely|of course|certainly|affirmative|great|good|perfect|nice|cool|awesome|excellent|wonderful|love it
sounds good|sounds great|sounds fine|sounds right|sounds perfect|sound good|looks good|looks great|looks fine
looks right|looks perfect|look good|lgtm|lgmt|all good|good idea|good plan|great idea|nice plan|good to go|good job
works for me|that works|this works|fine by me|fine with me|good with me|ok with me|i like it|im fine with that
im ok with that|no objections|no problem|np|go|go ahead|go on|go for it|goahead|do it|do that|do this|do so|please do
make it so|proceed|procede|continue|contiune|carry on|keep going|keep at it|next|next step|next one|move on
ship it|send it|lets go|lets do it|lets do that|lets do this|lets start|lets begin|lets proceed|lets continue|start
begin|start now|start it|you can start|you may start|you can go on|you can continue|you may continue|you may proceed
you can proceed|get started|get going|get on with it|execute|execute it|execute the plan|run it|apply it|apply them
apply that|apply the changes|implement it|implement that|implement the plan|follow the plan|start the plan
go ahead and do it|go ahead and start|go ahead with it|go ahead with that|go ahead with the plan|continue with it
continue with that|continue with the plan|proceed with it|proceed with that|proceed with the plan|yes to all|yes i do
yes you can|yes you may|you got it|resume|finish it|finish|that is right|thats right|that is correct|thats correct
that is fine|thats fine|thats good|thats great|thats ok|thats okay|thats perfect|its fine|its ok|its good|works
first|second|third|fourth|fifth|sixth|last|1st|2nd|3rd|4th|5th|former|latter|both|both of them|all of them|all of it
one|two|three|four|five|six|a|b|c|d|e|f
why not|sounds like a plan|thats what i want|thats what i meant|that is what i want|makes sense|move forward
lets move forward|lets move on|give it a go|give it a try|try it|lets try it|lets try that|im happy with that
i am fine
"""
_ADDS_NOTHING = """
please|pls|plz|thanks|thank you|thx|ty|now|then|so|well|and|oh|ah|uh|um|hm|hmm|hey|man|bro|mate|dude|buddy|claude|the
option|options|choice|number|variant|plan|approach|proposal|solution|suggestion|version|one|with it|with that
with option|with the|it|that|this
as planned|as proposed|as suggested|as discussed|as you suggested|as you said|as you proposed|as you like|i choose
i pick
i prefer|i take|i would go with|id go with|ill take|ill go with|i go with|go with|lets go with|lets take|lets use
take|pick|choose|choose option|use option|use the|do the|lets do|lets try
go for|for option|i want|id like|yes to|for me|to me|from here|just|very|really
by all means|much|everything|all
"""
_CHINESE_AGREES = """
继续|继续吧|继续做|继续写|继续改|继续干|继续执行|继续完成|继续推进|继续下一步|请继续|接着|接着做|接着来|接着干|接着写|往下|往下走|往下做|下一步
进行下一步|下一个|好|好的|好吧|好呀|好啊|好嘞|好滴|好哒|好咧|好哇|好好|好得|行|行吧|行的|行啊|行呀|成|成吧|中|可以|可以的|可以啊|可以呀|可以吧|可已|可以了|行了
没问题|没有问题|没毛病|没意见|没有意见|我没意见|无异议|对|对的|对啊|对呀|是|是的|是啊|是呀|嗯|嗯嗯|恩|恩恩|嗯呢|嗯哼|哦了|中的|同意|我同意|完全同意|赞成|赞同|批准|准了
确认|确定|已确认|通过|认可|就这样|就这样吧|就这样做|就这样办|这样就行|这样就好|这样可以|这样挺好|这样行|就这么办|就这么做|就这么干|就这么定了|就这么来|这么做吧
就按这个来|按这个来|按这个做|按这个方案来|按这个方案做|按你说的|按你说的做|按你说的来|按你说的办|照你说的做|照你说的办|听你的|按计划|按计划来|按计划执行|按计划进行|按方案执行|照做
照办|照着做|你说得对|说得对|开始|开始吧|开始做|开始做吧|开始干|开始干活|开始执行|开始实施|开始实现|开工|开干|开搞|开整|动手|动手吧|干吧|干|做吧|来吧|搞吧|上吧|走起|走吧|冲|冲吧|整吧
执行|执行吧|去做|去做吧|去吧|改吧|写吧|实施|实施吧|实现吧|落实|不错|很好|挺好|非常好|非常棒|完美|棒|很棒|太好了|太棒了|真棒|赞|当然|当然可以|没错|正确|完全正确|必须的|妥|妥了|安排|安排上
前者|后者|都可以|都行|都要|都做|都改|全都要|两个都要|随便|随你|你定|你决定|你继续|你来|你来做|你做吧|你开始吧|你看着办|你来定|收到|明白了|了解|完成它|做完它|搞定它|提交吧|合并吧|部署吧|发布吧
继续下去|就是这样|就是这个意思|是这样|是这个意思|我觉得可以|我觉得行|我觉得没问题|我觉得不错|觉得可以|看起来不错|看起来可以|看起来没问题|看着不错|听起来不错|听着不错|听起来可以
第一个|第二个|第三个|第四个|第五个|第一种|第二种|第三种|第四种|最后一个
"""
_CHINESE_ADDS_NOTHING = """
吧|呀|啊|哦|噢|喔|哈|哈哈|啦|嘛|哎|诶|那|那就|那么|就|请|麻烦|麻烦你|辛苦|辛苦了|谢谢|谢谢你|谢谢您|谢了|多谢|感谢|我们|咱们|先|先来|来|然后|直接|现在|现在就|马上|立刻|全部|的话|的|地
选|我选|选择|我选择|选项|方案|用|用方案|采用|使用|走|第|个|种|项|条|号|步|这个|那个|一个|计划|按|按照|做|执行它
"""
# A misspelling by one letter of these is still the word. Short words have too many neighbours.
_OFTEN_MISTYPED = (
    *("continue", "proceed", "sounds", "perfect", "approved", "approve", "agreed", "exactly", "please", "thanks"),
    *("definitely", "absolutely", "correct", "confirm", "confirmed", "excellent", "awesome", "alright", "ahead"),
)
# A slip leaves the first two letters of such a word alone, or the last two.
_MISTYPED_HEADS = tuple({word[:2] for word in _OFTEN_MISTYPED})
_MISTYPED_TAILS = tuple({word[-2:] for word in _OFTEN_MISTYPED})
_THUMBS_UP = "👍👌✅🆗💯🙌👏🚀✔☑🫡🤝⭕"
_REFUSES = "👎❌✖❎🚫🛑⛔🤔❓❔✋🙅😕😡🤷"
_OPTION = re.compile(r"1?[0-9]|20|[a-f][1-9]")
_CODE = re.compile(r"[a-z0-9][+#]")
# What becomes of the ASCII characters, as in `_plain`: most texts have no others, and every call has one.
_ASCII = {code: chr(code).lower() if chr(code).isalnum() or chr(code) in "?+#" else " " for code in range(128)}
_ASCII |= dict.fromkeys(map(ord, "'`^"), "")
_LETTERS_THRICE = re.compile(r"([a-z])\1{2,}")
_RUNS = re.compile(r"([\u3400-\u4dbf\u4e00-\u9fff]+)|([a-z0-9]+(?: [a-z0-9]+)*)|\S+")


def _phrases(lines: str) -> frozenset[str]:
    return frozenset(phrase for line in lines.split("\n") for phrase in line.split("|") if phrase)


_ENGLISH = (
    frozenset(tuple(phrase.split()) for phrase in _phrases(_AGREES)),
    frozenset(tuple(phrase.split()) for phrase in _phrases(_ADDS_NOTHING)),
)
_NUMERALS = "一二三四五六七八九十"
_NUMBERED = {phrase for n in _NUMERALS for phrase in (f"第{n}", f"选{n}", f"选项{n}", f"方案{n}", f"{n}号")}
_CHINESE = (
    frozenset(tuple(phrase) for phrase in _phrases(_CHINESE_AGREES) | _NUMBERED),
    frozenset(tuple(phrase) for phrase in _phrases(_CHINESE_ADDS_NOTHING)),
)
_KNOWN_WORDS = frozenset(word for phrases in _ENGLISH for phrase in phrases for word in phrase)
_LONGEST = max(len(phrase) for phrases in (*_ENGLISH, *_CHINESE) for phrase in phrases)


def is_approval(text: str) -> bool:
    """Say whether `text` agrees to what was proposed, or chooses among what was offered, and asks for nothing else."""
    if not text or len(text) > _MAX_CHARS:
        return False
    plain, agrees = _plain(text)
    if plain is None:
        return False
    if len(plain) == 1 and plain in _NUMERALS:
        return True  # among other characters it may be a mere article
    for run in _RUNS.finditer(plain):
        chinese, english = run.groups()
        if chinese:
            found = _consists_of(tuple(chinese), *_CHINESE)
        elif english:
            words = _known_words(english.split())
            found = _consists_of(words, *_ENGLISH) if words is not None else None
        else:
            return False
        if found is None:
            return False
        agrees |= found
    return agrees


def _plain(text: str) -> tuple[str | None, bool]:
    """Return the words of a text in one form, None where a sign asks or refuses; and whether a sign agrees."""
    if text.isascii():
        plain = text.translate(_ASCII)
        if "?" in plain or _CODE.search(plain):
            return None, False
        return " ".join(plain.replace("+", " ").replace("#", " ").split()), False
    characters: list[str] = []
    agrees = False
    for character in unicodedata.normalize("NFKC", text).casefold():
        if character == "?" or character in _REFUSES:
            return None, False
        if character in _THUMBS_UP:
            agrees = True
        elif character in "'’`":
            continue  # let's, that's
        if character in "+#" and characters and characters[-1] != " ":
            return None, False  # C++ and C# are no options
        kind = unicodedata.category(character)
        if kind[0] in "LN":
            characters.append(character)
        elif kind in ("Mn", "Cf", "Sk"):
            continue  # parts of emoji
        else:
            characters.append(" ")
    return " ".join("".join(characters).split()), agrees


def _known_words(words: Sequence[str]) -> list[str] | None:
    """Return `words` as the lists have them; None when one is in none of them, or they are too many."""
    if len(words) > _MAX_WORDS:
        return None
    found = []
    for word in words:
        spelt = _spelt(word)
        if spelt not in _KNOWN_WORDS:
            return None
        found.append(spelt)
    return found


def _spelt(word: str) -> str:
    """Return a word as the lists have it: yesss, pleaase and contniue are known."""
    if word in _KNOWN_WORDS:
        return word
    if _OPTION.fullmatch(word):
        return "b"
    word = _LETTERS_THRICE.sub(r"\1", word)
    if len(word) < 5 or word in _KNOWN_WORDS:
        return word
    if word.startswith(_MISTYPED_HEADS) or word.endswith(_MISTYPED_TAILS):
        return next((known for known in _OFTEN_MISTYPED if _is_one_slip(word, known)), word)
    return word


def _is_one_slip(word: str, known: str) -> bool:
    """Say whether one letter is missing, added, changed or swapped with its neighbour."""
    if abs(len(word) - len(known)) > 1:
        return False
    at = next((at for at, pair in enumerate(zip(word, known, strict=False)) if pair[0] != pair[1]), None)
    if at is None:
        return True
    rest, known_rest = word[at:], known[at:]
    return (
        rest[1:] == known_rest[1:]
        or rest[1:] == known_rest
        or rest == known_rest[1:]
        or (rest[:2] == known_rest[1::-1] and rest[2:] == known_rest[2:])
    )


def _consists_of(
    parts: Sequence[str], agreeing: Collection[tuple[str, ...]], neutral: Collection[tuple[str, ...]]
) -> bool | None:
    """Return whether `parts` can be read as phrases of the two lists with an agreeing one; None if not as phrases."""
    # reached[n]: the first n parts can be read; True when an agreeing phrase can be among them.
    reached: list[bool | None] = [False] + [None] * len(parts)
    for begin, so_far in enumerate(reached):
        if so_far is None:
            continue
        for end in range(begin + 1, min(begin + _LONGEST, len(parts)) + 1):
            phrase = tuple(parts[begin:end])
            if phrase in agreeing:
                reached[end] = True
            elif phrase in neutral:
                reached[end] = bool(reached[end]) or so_far
    return reached[-1]
