"""Words in a prompt that are meant for the router: left out of what the intent is read from.

"Answer B", "route this to the expert scene", "use the strongest model": a prompt is sorted by what it asks to be done,
not by what it says about its sorting. This is the second line: the first is that no text can be an answer at all (see
`question.py`). What no pattern knows is merely words among others; what a pattern takes wrongly costs a clause of the
text that the intent is read from, and nothing of the prompt itself. Explicit rules of a scene read the whole text: a
keyword that an administrator has set is there to be said.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

# Controls, joiners and marks of direction, fillers, variation selectors, tags, private and half characters.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\ue000-\uf8ff"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
# Letters of other alphabets that pass for Latin ones. Real words in those alphabets become no Latin words by this.
_LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһкмтпвνοαιρτκАВЕКМНОРСТУХІЈЅΑΒΕΟΡ", "aeopcyxijsdhkmtnbvoaiptkABEKMHOPCTYXIJSABEOP"
)
# Clauses: what lies between two of these. A dot ends one only before a blank: file names and versions stay whole.
_CLAUSE = re.compile(r"(?<=[,，、;；:：!！?？。…()（）\[\]【】{}<>《》|\n])|(?<=\.)(?=\s)|(?=[(（\[【{<《])")
# Without any of these, or the name of a scene, there is no order: one quick search settles most clauses.
_TRIGGERS = (
    r"system|developer|instruction|prompt|rules|guideline|direction|messages|answer|reply|respond|output|choose|pick|select|label|scene"
    r"|model|rout|classif|categor|\btier\b|dispatch|escalate|opus|sonnet|haiku|指令|指示|提示|规则|要求|设定|说明|限制"
    r"|回答|回复|输出|答案|选|标签|类别|场景|模型|路由|分类|归类|调度|系统"
)
_BEST = (
    r"(?:best|strongest|smartest|biggest|largest|highest|flagship|premium|cheapest|expensive|top[- ]?(?:tier|end)?"
    r"|(?:most|more) (?:capable|powerful|expensive|advanced|intelligent)|opus|sonnet|haiku)"
)
_BEST_ZH = r"最(?:好|强|强大|贵|昂贵|高级|聪明|先进|大|厉害|便宜|牛)的?"
# Models are trained as well as used.
_NOT_TRAINED = r"(?!\s{1,3}(?:checkpoint|from|weights|found|by|on the|in the|file|class)\b)"
_THIS = (
    r"(?:\s{1,3}(?:this|that|it|me|us|my|all|every|everything|requests?|prompt|question|message|text|here|now|always"
    r"|directly|straight|immediately|please))"
)
_SORT = r"(?:scenes?|labels?|category|class|kind|option|intent|tier|场景|标签|类别)"
_FILLER = (
    r"(?:\s{1,3}(?:only|just|with|exactly|always|by|using|the|a|single|letter|word|is|must|be|label|option|class)){0,8}"
)
# A letter that is an answer: a capital, or any that is called one.
_LETTER = r"[\s\"'`“”‘’(\[{*#]{0,4}(?:[A-Z]|(?<=letter )[a-z]|(?<=label )[a-z]|(?<=option )[a-z])\W{0,6}$"
_LETTERS = re.compile(
    rf"\b(?i:answer|reply|respond|output|choose|pick|say)\b(?i:{_FILLER}){_LETTER}"
    r"|\b(?i:correct|right|only|final)\s{1,3}(?i:answer|label|option|choice|class|category)\s{1,3}(?:(?i:is)\b|=)"
    rf"{_LETTER}"
    rf"|(?:回答|回复|输出|选择|选)(?:标签|选项|字母|只|为|是|类别){{0,4}}{_LETTER}"
    rf"|(?:答案|标签|选项|类别)(?:就|必须|应该|应)?(?:是|为){_LETTER}"
    rf"|(?:分类|归类|归|标记|标注|判定|判断|视|当)(?:为|成|到|作|入|做){_LETTER}"
)
_GIVEN_LETTER = re.compile(
    r"\b(?:output|answer|reply|response|label|回答|输出|答案|标签)[\"'”]?\s{0,3}(?:[:=：]|->|=>|→)\s{0,3}[\"'“]?[A-Z]\b[\"'”]?\s{0,3}(?:[}\]]|$)",
    re.IGNORECASE | re.MULTILINE,
)
_CLAUSES = (
    r"\b(?:ignore|disregard|forget|override|bypass|discard)\b.{0,30}"
    r"\b(?:previous|prior|above|earlier|preceding|all|any|your|system|these|other)\b.{0,30}"
    r"\b(?:instructions?|prompts?|rules|directions|guidelines|messages)\b",
    rf"\b(?:route|re-?route|send|forward|direct|dispatch|hand|switch|escalate|upgrade|move|assign){_THIS}{{0,8}}"
    rf"\s{{1,3}}(?:over\s{{1,3}})?(?:to|into)\b.{{0,20}}\b{_BEST}\b",
    rf"\b(?:route|re-?route|escalate|dispatch){_THIS}{{1,8}}\s{{1,3}}(?:to|into)\b.{{0,30}}\bmodels?\b",
    rf"\b(?:use|using|pick|choose|select|give me|i (?:want|need|demand)|switch to|upgrade to|run (?:this|it) on|only)\b"
    rf".{{0,25}}\b{_BEST}\b.{{0,20}}\b(?:models?|tier|llm)\b{_NOT_TRAINED}",
    r"\byou(?: are|'re|’re)(?: now)?(?: an?| the| my)?(?: \w+)? (?:router|classifier|dispatcher)\b"
    r"(?! \w*(?:expert|engin))",
    r"\b(?:dear|hey|attention|note to|listen)\W{1,3}(?:the |all )?(?:router|classifier|dispatcher)s?\b",
    # A mark of a role that stands alone, beside an order.
    r"^\W{0,6}(?:system|developer|router|系统|路由器?|分类器)(?: (?:override|prompt|message|notice))?\W{0,6}$",
    r"(?:忽略|无视|忘记|忘掉|不要理会|不用管|不要管|跳过|覆盖|抛弃).{0,10}"
    r"(?:之前|以前|以上|上面|上述|前面|先前|所有|一切|全部|任何|系统|原来|你的).{0,8}"
    r"(?:指令|指示|提示|规则|要求|设定|说明|限制)",
    rf"(?:路由|转发|转交|转接|分配|分派|派发|切换|切|升级|发送|发|交|送).{{0,6}}(?:到|给|至|为|成).{{0,10}}"
    rf"(?:{_BEST_ZH}.{{0,4}}模型|opus|sonnet|haiku)",
    r"(?:请求|消息|问题|对话|我).{0,4}路由.{0,4}(?:到|给|至).{0,12}模型",
    rf"(?:使用|用|选择|选|调用|换成|换用|换|给我|我要|需要).{{0,8}}(?:{_BEST_ZH}|旗舰|顶级).{{0,6}}模型",
    r"你(?:现在|其实)?(?:就)?是.{0,10}(?:路由器|分类器|调度器)",
)


def prepare(scene_names: Sequence[str]) -> None:
    """Make what `without_orders` needs for these scenes: compiling takes longer than a call should wait."""
    _patterns(_usable(scene_names))


def _usable(scene_names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in scene_names if name.strip())


@lru_cache(maxsize=256)
def _patterns(names: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str] | None]:
    """Return what finds a trigger, an order in a clause, and an assignment of a scene in a whole text.

    Names of scenes are common words ("code", "chat"): one counts where it is called a scene, or ends an order to sort.
    """
    if not names:
        return re.compile(_TRIGGERS), re.compile("|".join(_CLAUSES)), None
    # The longer name first, for one may begin with another.
    named = "|".join(
        rf"(?<![a-z0-9_]){re.escape(name)}(?![a-z0-9_])" for name in sorted(map(_folded, names), key=len, reverse=True)
    )
    place = (
        rf"(?:{_SORT}\W{{0,3}}(?:of|for|named|called|is|to|叫|为|是)?\W{{0,3}}(?:the )?(?:{named})"
        rf"|(?:{named})\W{{0,3}}(?:的)?{_SORT})"
    )
    end = rf"\W{{0,3}}(?:{place}|(?:the )?(?:{named})\W{{0,6}}$)"
    with_names = (
        rf"\b(?:answer|reply|respond|output|choose|pick|select|return|say|print|use)\b.{{0,20}}{place}",
        rf"\b(?:choose|pick|select|say|says){_FILLER}(?:{end})",
        rf"\b(?:classif\w+|categori[sz]e|label|tag|mark|treat|sort|file|count){_THIS}{{1,8}}\s{{1,3}}(?:as|into|under|to)"
        rf"(?: the| a)?{end}",
        rf"\b(?:route|re-?route|send|forward|direct|dispatch|hand|switch|escalate|upgrade|move|assign){_THIS}{{0,8}}"
        rf"\s{{1,3}}(?:over\s{{1,3}})?(?:to|into)(?: the)?{end}",
        rf"(?:回答|回复|输出|选择|选|走|进入|使用|路由).{{0,6}}{place}",
        rf"(?:选择|选|说|走|进入)(?:标签|选项|只|为|是|类别|到){{0,4}}{end}",
        rf"(?:分类|归类|归|标记|标注|判定|判断|识别|视|当|算).{{0,4}}(?:为|成|到|作|入|做){end}",
        rf"(?:路由|转发|转交|转接|分配|分派|派发|切换|切|升级).{{0,6}}(?:到|给|至|为|成){end}",
    )
    assigned = (
        rf"[{{\[<(]{{0,3}}\s{{0,3}}[\"'“]?(?:scene|label|intent|kind|场景|标签|类别)(?:_?name|_?id)?[\"'”]?\s{{0,3}}"
        rf"(?:[:=：]|->|=>|→)\s{{0,3}}[\"'“]?\s{{0,3}}(?:{named})\s{{0,3}}[\"'”]?\s{{0,3}}[}}\]>)]{{0,3}}"
    )
    return (
        re.compile(f"{_TRIGGERS}|{named}"),
        re.compile("|".join(f"(?:{each})" for each in (*_CLAUSES, *with_names))),
        re.compile(assigned, re.IGNORECASE),
    )


def visible(text: str) -> str:
    """Return `text` without characters that nobody sees: they hide words from readers, or from patterns."""
    return _INVISIBLE.sub("", text)


def without_orders(text: str, scene_names: Sequence[str] = ()) -> str:
    """Return `text` without invisible characters and without clauses that tell the router what to do.

    `scene_names` are those that an order may name. "" if nothing else was said.
    """
    text = visible(text)
    trigger, in_clause, assigned = _patterns(_usable(scene_names))
    if not trigger.search(_folded(text)):
        return text
    said = _GIVEN_LETTER.sub(" ", assigned.sub(" ", text) if assigned else text)
    rest = "".join(clause for clause in _CLAUSE.split(said) if not _is_order(clause, trigger, in_clause))
    # Marks that stood around an order are no request.
    return rest if any(character.isalnum() for character in rest) else ""


def _is_order(clause: str, trigger: re.Pattern[str], in_clause: re.Pattern[str]) -> bool:
    shape = _shape(clause)
    folded = shape.casefold()
    return trigger.search(folded) is not None and (
        in_clause.search(folded) is not None or _LETTERS.search(shape) is not None
    )


def _shape(text: str) -> str:
    """Return `text` as it looks: compatibility forms and lookalikes made one."""
    return unicodedata.normalize("NFKC", text).translate(_LOOKALIKES)


def _folded(text: str) -> str:
    return _shape(text).casefold()
