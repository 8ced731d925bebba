"""Short texts that only agree, and those that look like it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.intent.approvals import is_approval

APPROVALS = """
yes|Yes.|YES!!|yep|yeah, sure|yup 👍|y|ok|OK|Ok, go on|okay|okay then, please continue|okk|ok ok ok|k|kk|sure|Sure thing!
fine|alright|right|correct|exactly|agreed|I agree|approved|confirm|absolutely|of course|go|go ahead|Go ahead, please.
go for it!|go on then|do it|Do it now|please do|make it so|proceed|procede|proceeed with it|continue|contniue|continu
continue with the plan|carry on|keep going|next|next step|LGTM|lgtm 🚀|lgmt|looks good|looks good to me|sounds good
soudns good|Sounds great, let's do it|that works|works for me|perfect|perfect, thanks|great|Great! Go ahead.|ship it
let's go|lets do that|you can start|start|implement it|yes please|yes, do that|yesss|yeees|ok thanks|thanks, go ahead
good idea, go ahead|yes to all|+1|👍|👍🏽|✅|👌 go|I'm fine with that|that's fine|fine with me|ok — as you suggested
2|#2|1.|2)|b|B|Option B|option 2|option 2 please|let's go with option 2|I choose 2|the second one|first|second option
the latter|both|all of them|a and c|1 and 3|number 3|plan b|one|2️⃣
sure, why not|sounds like a plan|do the first one|let's try option 1|yes, that's what I want|yes to both|OK, makes sense
Agreed. Let's move forward|give it a go|yes go for option a please|yes, go ahead with option 2|I prefer the second option
继续下去|对,就是这样|就是这个意思|我觉得可以|看起来不错|听起来不错,继续|好,那就这么办|可以,按照方案2来做|ok 没问题 开始干活吧
继续|继续。|继续吧|请继续|好|好的|好的!|好的,继续|好吧|好呀|行|行吧|可以|可以的|可以,开始吧|可以了|没问题|没问题,继续|对|对的|是的|是的,继续
嗯|嗯嗯|嗯嗯就这样|嗯嗯,就这样吧|同意|我同意|确认|就这样|就这样吧|就这么办|就按这个来|按你说的做|按计划执行|照做|开始|开始吧|那就开始吧|动手吧|干吧
来吧|执行|去做吧|改吧|很好|很好,继续|太棒了👍|当然可以|没错|完全同意|下一步|继续下一步|接着做|接着来|往下做|好滴|好嘞|ok,继续|OK 继续|好的 go ahead
LGTM,开始吧|ok的|第二个|第二个吧|第2个|选2|选第二个|选项2|方案B|用方案一|第三种|选三|三|第一步|我们开始吧|那我们继续吧|就用方案二吧|我选B|前者|两个都要|都可以|二|好的谢谢|麻烦继续|辛苦了,继续|好👌|可已,继续
"""
NEAR_MISSES = """
yes, but rewrite it in Rust|ok so what is a monad?|ok, but first explain it|continue writing the login page|no|nope|no 2
not yet|don't do it|do not continue|stop|wait|wait a second|hold on|yes?|ok?|really?|go back|start over|do it again
go to the settings page|do it in Python|do it differently|ok now add tests|sure, and also fix the bug|great, now deploy
good morning|good question|thanks|thank you!|please|hello|hi|next time use tabs|right click does nothing|fine-tune it
perfect forwarding in C++|option b but smaller|option c++|use option parsing|use 2 spaces|2 spaces please|404|500 errors
golang or rust|use Go|do it with go|rewrite it with go|use b-trees|a bit more|one more|one more thing|not sure|right, but|y/n|do it yourself|no thanks|nah|skip|cancel|try it with python 2|i want tests|let's go with postgres|i like cats|first explain the code|the second test fails|both tests fail
run the tests|run it on port 80|continue?|why|what next?|next.js|all tests pass|that's wrong|looks bad|sounds like a bug
start the server|execute the query|finish the report|approve the pull request of Tom|proceed to checkout is broken
yes no|👎|🤔|❌|🎉|🙏|yes 👎|y = x|option c#|k8s|agree on a schema first|ship it to staging|apply the patch by hand
继续写一个登录页面|继续写测试|不|不行|不要|不可以|不对|不好|不是|好的,但是用 Rust 重写|可以吗|可以吗?|是吗|是不是|行不行|对了|等一下|等等|先等等|停|停下
好的,再加一个测试|可以,不过先解释一下|嗯?|为什么|怎么做|开始写登录页面|开始之前先备份|确认一下配置|检查一下|看一下日志|第二个测试失败了|第二种方案有什么缺点|选一个好的名字
取消|算了|换一个|重来|重新开始|跳过|再来一次|不用了|先不要|改成中文|看起来不对|我觉得不行|这是什么意思
用中文回答|方案二的成本是多少|两个都不要|都不行|你好|谢谢|就这样改不行|执行 SQL 查询|按计划表更新数据库|行数太多|对齐代码|好像有问题|是谁写的|来一个|做一个|写一个|走一走|做一步测试|来一个例子|继续?|嗯我想想
"""


def texts(table: str) -> list[str]:
    return [text for line in table.strip().split("\n") for text in line.split("|")]


@pytest.mark.parametrize("text", texts(APPROVALS))
def test_an_approval_is_recognised(text: str) -> None:
    assert is_approval(text)


@pytest.mark.parametrize("text", texts(NEAR_MISSES))
def test_what_asks_for_more_is_no_approval(text: str) -> None:
    assert not is_approval(text)


def test_the_tables_are_large_enough_to_mean_something() -> None:
    assert len(set(texts(APPROVALS))) >= 150
    assert len(set(texts(NEAR_MISSES))) >= 100


@pytest.mark.parametrize("text", ["", " ", "\n", "...", "\ufe0f", "\u200d", "yes " * 30, "好的" * 50])
def test_nothing_and_too_much_are_no_approvals(text: str) -> None:
    assert not is_approval(text)


@given(st.text(max_size=120))
def test_any_text_has_an_answer(text: str) -> None:
    assert is_approval(text) in (True, False)


@given(
    st.sampled_from(["好的", "继续", "yes ", "go ahead ", "do it "]),
    st.integers(1, 30),
    st.sampled_from(["", "x!", "吗"]),
)
def test_repetition_takes_no_time(phrase: str, times: int, end: str) -> None:
    # A reading that tried every way to split the text would not come back from this.
    assert is_approval((phrase * times)[:70] + end) in (True, False)
