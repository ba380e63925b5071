# ruff: noqa: RUF001 - Cyrillic letters are meant here
"""Function words by language: they are kept in sequences for phrases, but carry no weight in scores.

Weights by document frequency alone would do the same in a large collection; in one of five notes "the" is as rare as
anything. Lists are closed classes (articles, pronouns, prepositions, auxiliaries), never topics.
"""

_WORDS = {
    "english": """
        a an the this that these those i me my mine myself we us our ours ourselves you your yours yourself he him his
        himself she her hers herself it its itself they them their theirs themselves who whom whose which what when
        where why how and or but nor so yet if then else than as of at by for with about against between into through
        during before after above below to from up down in out on off over under again further once here there all any
        both each few more most other some such no not only own same too very can could will would shall should may
        might must do does did doing done have has had having be am is are was were been being because until while also
        however therefore thus just now ever never always often e.g eg ie i.e etc vs via per upon within without one two
        s t d ll m re ve dont doesnt didnt isnt arent wasnt werent cant couldnt wont wouldnt ive im youre its thats
        theres whats lets see
    """,
    "german": """
        der die das den dem des ein eine einer eines einem einen und oder aber doch denn wenn weil dass ob als wie so
        ich du er sie es wir ihr mich dich sich uns euch mir dir ihm ihn ihnen mein dein sein unser euer ihre seine
        meine deine nicht kein keine nur auch noch schon sehr mehr ist sind war waren bin bist seid sein wird werden
        wurde wurden hat haben hatte hatten kann koennen können muss müssen soll will in im an am auf aus bei beim mit
        nach von vom vor zu zum zur für über unter durch gegen ohne um bis hier da dort dann nun was wer wo wann warum
        man etwas alle alles dieser diese dieses diesem diesen jeder jede jedes
    """,
    "french": """
        le la les l un une des du de d au aux et ou mais donc or ni car que qu qui quoi dont où si comme ne n pas plus
        je j tu il elle on nous vous ils elles me m te t se s lui leur leurs y en mon ma mes ton ta tes son sa ses notre
        nos votre vos ce cet cette ces c est sont était étaient être été ai as a avons avez ont avait avaient avoir à
        dans par pour sur sous avec sans entre vers chez très aussi bien tout tous toute toutes même fait faire peut
    """,
    "spanish": """
        el la los las lo un una unos unas de del al y e o u pero sino que quien cual cuyo donde cuando como si no ni yo
        tú él ella ello nosotros vosotros ellos ellas me te se nos os le les mi mis tu tus su sus nuestro nuestra este
        esta esto estos estas ese esa eso esos esas es son era eran ser sido fue fueron está están estar ha han había
        haber he hay a ante bajo con contra desde en entre hacia hasta para por según sin sobre tras muy más menos
        también ya todo todos toda todas otro otra
    """,
    "italian": """
        il lo la i gli le l un uno una di del dello della dei degli delle a al allo alla ai agli alle da dal dalla in
        nel nella nei con su sul sulla per tra fra e ed o ma se che chi cui non né come dove quando io tu lui lei noi
        voi loro mi ti si ci vi ne mio tuo suo nostro vostro questo questa questi queste quello quella è sono era erano
        essere stato ha hanno aveva avere ho anche più molto già tutto tutti
    """,
    "portuguese": """
        o a os as um uma uns umas de do da dos das em no na nos nas por pelo pela para com sem sob sobre entre até e ou
        mas que quem qual cujo onde quando como se não nem eu tu ele ela nós vós eles elas me te lhe lhes meu teu seu
        sua seus suas nosso nossa este esta isto esse essa isso aquele aquela é são era eram ser sido foi foram está
        estão estar há haver tem têm ter muito mais menos também já todo todos ao aos à às
    """,
    "dutch": """
        de het een en of maar want dus als dan dat die dit deze wie wat waar wanneer hoe niet geen ik jij je hij zij ze
        wij we jullie u hem haar hun mij me mijn jouw zijn haar ons onze is zijn was waren ben bent wordt worden werd
        heeft hebben had kan kunnen moet moeten zal zullen in op aan uit bij met na van voor naar tot te om over onder
        door tegen zonder er hier daar nog ook al wel zeer meer alle
    """,
    "russian": """
        и в во не что он на я с со как а то все она так его но да ты к у же вы за бы по только ее её мне было вот от
        меня еще ещё нет о из ему теперь когда даже ну ли если уже или ни быть был него до вас опять вам ведь там потом
        себя ей они тут где есть надо ней для мы тебя их чем была сам чтоб без будто чего раз тоже под будет это этот
        эта эти
    """,
    "swedish": """
        och att det i en jag hon som han på den med var sig för så till är men ett om hade de av icke mig du henne då
        sin nu har inte hans honom skulle hennes där min man ej vid kunde något från ut när efter upp vi dem vara vad
        över än dig kan sina här ha mot alla under någon eller mycket denna detta
    """,
    "norwegian": """
        og i jeg det at en et den til er som på de med han av ikke der så var meg seg men ett har om vi min mitt ha
        hadde hun nå over da ved fra du ut sin dem oss opp man kan hans hvor eller hva skal selv sjøl her alle vil bli
        ble være vært enn etter under
    """,
    "danish": """
        og i jeg det at en den til er som på de med han af for ikke der var mig sig men et har om vi min havde ham hun
        nu over da fra du ud sin dem os op man hans hvor eller hvad skal selv her alle vil blev kunne ind når være dog
        noget ville
    """,
    "finnish": """
        ja on ei se että en hän oli joka mutta ovat kun niin tai kuin sen siitä hänen ole minä sinä me te he mikä mitä
        jos vain myös nyt sitten jo vielä tämä nämä tuo
    """,
}

STOPWORDS = {language: frozenset(words.split()) for language, words in _WORDS.items()}
